"""The ids of responses and their items.

All are made of the id of the generation, so that a response is found by the id of any of its items.
"""

from headrace.gateway.headers import REQUEST_ID_PREFIX

_RESPONSE_PREFIX = "resp_"
_BODY_LENGTH = 32
_HEX = frozenset("0123456789abcdef")


def to_response_id(request_id: str) -> str:
    """Return the id of the response that a generation makes."""
    return f"{_RESPONSE_PREFIX}{request_id.removeprefix(REQUEST_ID_PREFIX)}"


def to_request_id(response_id: str) -> str:
    """Return the id of the generation that makes a response."""
    return f"{REQUEST_ID_PREFIX}{response_id.removeprefix(_RESPONSE_PREFIX)}"


def output_item_id(response_id: str, *, prefix: str, index: int) -> str:
    """Return the id of an item that a response holds."""
    return f"{prefix}_{response_id.removeprefix(_RESPONSE_PREFIX)}{index:02x}"


def input_item_id(response_id: str, *, prefix: str, index: int) -> str:
    """Return the id of an item that a response answers to, where the client gave it none."""
    return f"{prefix}_{response_id.removeprefix(_RESPONSE_PREFIX)}i{index:x}"


def response_of_item(item_id: str) -> str | None:
    """Return the id of the response that an item of ours belongs to; None for the id of a stranger."""
    body = item_id.partition("_")[2][:_BODY_LENGTH]
    is_ours = len(body) == _BODY_LENGTH and _HEX.issuperset(body)
    return f"{_RESPONSE_PREFIX}{body}" if is_ours else None
