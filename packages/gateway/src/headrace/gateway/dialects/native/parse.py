"""From the bytes of a native body to a request."""

from headrace.gateway.dialects.base import ParsedCall
from headrace.gateway.dialects.native.stream import NativeRendering
from headrace.gateway.dialects.native.wire import GenerationBody
from headrace.gateway.strict import StrictReader, decode_object
from headrace.schema.checks import check_request
from headrace.schema.request import ChatCompletionRequest


class NativeParser:
    """Reads native bodies."""

    def __init__(self) -> None:
        self._reader = StrictReader(GenerationBody)

    def parse(self, body: bytes) -> ParsedCall:
        """Return what the body asks for.

        Raises:
            HeadraceError: `invalid_request`, naming the field.
        """
        wire = self._reader.read(decode_object(body))
        request = ChatCompletionRequest(
            **{name: getattr(wire, name) for name in ChatCompletionRequest.__struct_fields__}
        )
        check_request(request)
        return ParsedCall(
            request=request,
            rendering=NativeRendering,
            stream=wire.stream,
            local_only=wire.privacy == "local_only",
        )
