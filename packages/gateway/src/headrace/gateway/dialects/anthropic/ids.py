"""Our ids under the prefixes that Anthropic's clients know, and back."""

from headrace.gateway.headers import REQUEST_ID_PREFIX

_MESSAGE = "msg_"
_THEIR_CALL, _OUR_CALL = "toolu_", "call_"


def to_message_id(request_id: str) -> str:
    """Return the id of a message, made of that of its generation."""
    return _MESSAGE + request_id.removeprefix(REQUEST_ID_PREFIX)


def to_signature(request_id: str) -> str:
    """Return what stands where Anthropic signs a thought. Nobody checks it; it says which generation thought it."""
    return request_id


def to_tool_use_id(call_id: str) -> str:
    """Return the id of a call as clients see it."""
    return _THEIR_CALL + call_id.removeprefix(_OUR_CALL) if call_id.startswith(_OUR_CALL) else call_id


def to_call_id(tool_use_id: str) -> str:
    """Return the id of a call as its worker made it; one that another API made is kept."""
    if not tool_use_id.startswith(_THEIR_CALL):
        return tool_use_id
    return _OUR_CALL + tool_use_id.removeprefix(_THEIR_CALL)
