"""`provider_extensions`: what a request asks of one vendor, or of vLLM, in that one's own words.

What is under a provider's kind or name is merged into the body untouched. What is under another's is for another: a
request may have a chain of providers before it. What is under `vllm` comes of our own dialects too, so each part of
it is honoured, passed over because it only tunes, or refused by name.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from headrace.providers.failing import Complaints
from headrace.schema.request import ChatCompletionRequest

FIELD = "generation_parameters.provider_extensions"
_VLLM = "vllm"
_TEMPLATE = "chat_template_kwargs"
# They bound or change what may be said, so that leaving them out would break a promise.
_BINDING = ("allowed_token_ids", "bad_words", "stop_token_ids")


def merge_extensions(
    body: dict[str, Any],
    request: ChatCompletionRequest,
    keys: Sequence[str],
    kept: Sequence[str],
    complaints: Complaints,
) -> None:
    """Merge a request's extensions into a body; objects are merged, and anything else is replaced.

    Args:
        body: of the call.
        request: with the extensions.
        keys: under which they are looked for, in order.
        kept: fields that are not the client's to change: what is asked, of which model, and in what form it comes back.
        complaints: say what goes wrong.

    Raises:
        ProviderError: an extension is no object, or changes what is not the client's to change.
    """
    extensions = request.generation_parameters.provider_extensions
    for key in dict.fromkeys(keys):
        if key not in extensions:
            continue
        extension = extensions[key]
        if not isinstance(extension, dict):
            raise complaints.invalid(f"the provider extension {key!r} must be an object", f"{FIELD}.{key}")
        fields = cast("dict[str, Any]", extension)
        for name in kept:
            if name in fields:
                raise complaints.unsupported(f"{name!r} as an extension", f"{FIELD}.{key}.{name}")
        _merge(body, fields)


def _merge(into: dict[str, Any], fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        present = into.get(name)
        if isinstance(present, dict) and isinstance(value, dict):
            inner = cast("dict[str, Any]", present)
            _merge(inner, cast("dict[str, Any]", value))
        else:
            into[name] = value


class VllmExtension:
    """What a request asks of vLLM.

    Attributes:
        fields: all of it.
        template: variables for the chat template, which is where our dialects put how much to think.
    """

    def __init__(self, request: ChatCompletionRequest, complaints: Complaints) -> None:
        self.fields = _object(request.generation_parameters.provider_extensions, _VLLM, FIELD, complaints)
        self.template = _object(self.fields, _TEMPLATE, f"{FIELD}.{_VLLM}", complaints)

    @property
    def effort(self) -> str | None:
        """How much to think: `none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`; None where nobody says."""
        effort = self.template.get("reasoning_effort")
        return effort if isinstance(effort, str) else None

    @property
    def continues(self) -> bool:
        """Whether the answer is to go on with the last message."""
        return self.template.get("continue_final_message") is True

    def refuse_binding(self, complaints: Complaints, *, continues: bool) -> None:
        """Refuse what a vendor other than vLLM can't honour.

        Args:
            complaints: say what goes wrong.
            continues: whether the vendor can go on with the last message.

        Raises:
            ProviderError: naming the field.
        """
        for name in _BINDING:
            if self.fields.get(name):
                raise complaints.unsupported(repr(name), f"{FIELD}.{_VLLM}.{name}")
        if self.continues and not continues:
            path = f"{FIELD}.{_VLLM}.{_TEMPLATE}.continue_final_message"
            raise complaints.unsupported("an answer that goes on with the last message", path)


def _object(fields: Mapping[str, Any], name: str, path: str, complaints: Complaints) -> dict[str, Any]:
    value: Any = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise complaints.invalid(f"the provider extension {name!r} must be an object", f"{path}.{name}")
    return cast("dict[str, Any]", value)
