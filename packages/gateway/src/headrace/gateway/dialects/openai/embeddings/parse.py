"""From the bytes of a body to a request for embeddings."""

from functools import partial

from headrace.gateway.dialects.base import ParsedCall
from headrace.gateway.dialects.openai.embeddings.render import EmbeddingRendering
from headrace.gateway.dialects.openai.embeddings.wire import ADVICE, IGNORED_FIELDS, UNSUPPORTED_FIELDS, EmbeddingBody
from headrace.gateway.dialects.openai.fields import refuse_unsupported
from headrace.gateway.dialects.openai.prompts import to_prompts
from headrace.gateway.strict import StrictReader, decode_object
from headrace.schema.checks import check_request
from headrace.schema.request import ChatCompletionRequest, EmbeddingParams


class EmbeddingParser:
    """Reads bodies of calls for embeddings."""

    def __init__(self) -> None:
        self._reader = StrictReader(EmbeddingBody)

    def parse(self, body: bytes) -> ParsedCall:
        """Return what the body asks for.

        Raises:
            HeadraceError: `invalid_request` or `unsupported_parameter`, naming the field.
        """
        fields = decode_object(body)
        refuse_unsupported(fields, UNSUPPORTED_FIELDS, ADVICE)
        passed_over = IGNORED_FIELDS | UNSUPPORTED_FIELDS.keys()
        wire = self._reader.read({name: value for name, value in fields.items() if name not in passed_over})
        request = ChatCompletionRequest(
            model=wire.model,
            prompts=to_prompts(wire.input, "input"),
            embedding=EmbeddingParams(dimensions=wire.dimensions),
        )
        check_request(request)
        return ParsedCall(
            request=request,
            rendering=partial(EmbeddingRendering, encoding_format=wire.encoding_format or "float"),
            stream=False,
        )
