"""Our ids under the prefixes that Anthropic's clients know, and back."""

from headrace.gateway.dialects.signed_ids import SignedId, read_signed_id, to_signed_id
from headrace.gateway.headers import REQUEST_ID_PREFIX
from headrace.schema.events import Signature

HOME = "anthropic"
"""Whose signatures stand in this dialect as they are."""
_MESSAGE = "msg_"
_THEIR_CALL, _OUR_CALL = "toolu_", "call_"


def to_message_id(request_id: str) -> str:
    """Return the id of a message, made of that of its generation."""
    return _MESSAGE + request_id.removeprefix(REQUEST_ID_PREFIX)


def to_own_signature(request_id: str) -> str:
    """Return what stands where Anthropic signs a thought. Nobody checks it; it says which generation thought it."""
    return request_id


def to_tool_use_id(call_id: str, signature: Signature | None = None) -> str:
    """Return the id of a call as clients see it, with the call's signature in it if it has one."""
    theirs = _THEIR_CALL + call_id.removeprefix(_OUR_CALL) if call_id.startswith(_OUR_CALL) else call_id
    return to_signed_id(theirs, signature)


def read_tool_use_id(tool_use_id: str) -> SignedId:
    """Return the id of a call as its worker made it, and the call's signature; one that another API made is kept."""
    signed = read_signed_id(tool_use_id)
    if not signed.id.startswith(_THEIR_CALL):
        return signed
    return SignedId(_OUR_CALL + signed.id.removeprefix(_THEIR_CALL), signed.signature)
