"""What the bodies of OpenAI's APIs have in common when they are read."""

from collections.abc import Mapping
from typing import Any

from headrace.gateway.failure import RequestRefusedError
from headrace.schema.errors import ErrorCode, HeadraceError

MAX_BIAS = 100
_ID_DIGITS = 10


def refuse_unsupported(
    fields: Mapping[str, Any], unsupported: Mapping[str, tuple[Any, ...]], advice: Mapping[str, str]
) -> None:
    """Refuse a field that asks for what we lack.

    Args:
        fields: of a body.
        unsupported: fields that we lack, with the values, beside null, that ask for nothing.
        advice: what to use in place of a field.

    Raises:
        HeadraceError: `unsupported_parameter`.
    """
    for name, harmless in unsupported.items():
        value = fields.get(name)
        # 0 == False in Python, and neither is the other here.
        if value is not None and not any(type(value) is type(item) and value == item for item in harmless):
            message = f"'{name}' is not supported{advice.get(name, '')}"
            raise HeadraceError(ErrorCode.UNSUPPORTED_PARAMETER, message, param=name)


def to_logit_bias(biases: Mapping[str, float]) -> dict[int, float]:
    """Return what is added to the logits of tokens, by token id.

    Raises:
        RequestRefusedError: a key is no token id, or a value is out of range.
    """
    for key, bias in biases.items():
        if not (key.isascii() and key.isdecimal() and len(key) <= _ID_DIGITS and int(key) < 2**31):
            raise _wrong_bias("the keys of 'logit_bias' must be token ids")
        if not -MAX_BIAS <= bias <= MAX_BIAS:
            raise _wrong_bias(f"the values of 'logit_bias' must be from -{MAX_BIAS} to {MAX_BIAS}")
    return {int(key): bias for key, bias in biases.items()}


def _wrong_bias(message: str) -> RequestRefusedError:
    return RequestRefusedError(message, reason="invalid_value", param="logit_bias")
