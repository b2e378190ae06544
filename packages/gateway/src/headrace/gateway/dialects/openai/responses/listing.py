"""What the queries of URLs ask for: a stream that goes on, and pages of the items that a response answers to."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from headrace.gateway.dialects.openai.responses.items import ConversationItem
from headrace.gateway.dialects.openai.responses.objects import ItemList
from headrace.gateway.failure import RequestRefusedError

MAX_PAGE = 100
_DEFAULT_PAGE = 20
_MOST_DIGITS = 12


class PageQuery(Struct, frozen=True, kw_only=True):
    """Which items to list.

    Attributes:
        limit: most items in the page.
        is_ascending: the oldest first.
        after: the id of the item before the first one of the page.
    """

    limit: int = _DEFAULT_PAGE
    is_ascending: bool = False
    after: str | None = None


def read_stream_query(query: Mapping[str, str]) -> int | None:
    """Return the number of the last frame that a client has of the stream which it asks for; -1 for none.

    Returns:
        None where it asks for no stream.

    Raises:
        RequestRefusedError: naming the parameter.
    """
    stream, after = query.get("stream", "false"), query.get("starting_after")
    if stream not in ("true", "false"):
        raise RequestRefusedError("'stream' must be 'true' or 'false'", reason="invalid_value", param="stream")
    if after is None:
        return -1 if stream == "true" else None
    if stream == "false":
        message = "'starting_after' goes on with a stream: it needs 'stream=true'"
        raise RequestRefusedError(message, reason="invalid_value", param="starting_after")
    if not (after.isascii() and after.isdecimal() and len(after) <= _MOST_DIGITS):
        message = "'starting_after' must be the sequence number of an event"
        raise RequestRefusedError(message, reason="invalid_value", param="starting_after")
    return int(after)


def read_page_query(query: Mapping[str, str]) -> PageQuery:
    """Return what the query of a URL asks for.

    Raises:
        RequestRefusedError: naming the parameter.
    """
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise RequestRefusedError("'order' must be 'asc' or 'desc'", reason="invalid_value", param="order")
    limit = query.get("limit", str(_DEFAULT_PAGE))
    if not (limit.isascii() and limit.isdecimal() and len(limit) <= len(str(MAX_PAGE)) and 1 <= int(limit) <= MAX_PAGE):
        message = f"'limit' must be a whole number from 1 to {MAX_PAGE}"
        raise RequestRefusedError(message, reason="invalid_value", param="limit")
    return PageQuery(limit=int(limit), is_ascending=order == "asc", after=query.get("after"))


def to_page(items: Sequence[ConversationItem], query: PageQuery) -> ItemList:
    """Return a page.

    Raises:
        RequestRefusedError: there is no item of the id in `after`.
    """
    ordered = list(items if query.is_ascending else reversed(items))
    first = 0
    if query.after is not None:
        first = next((i + 1 for i, item in enumerate(ordered) if item.id == query.after), -1)
        if first < 0:
            raise RequestRefusedError("'after' is no item of this response", reason="invalid_value", param="after")
    page = ordered[first : first + query.limit]
    return ItemList(
        data=tuple(page),
        first_id=page[0].id if page else None,
        last_id=page[-1].id if page else None,
        has_more=first + query.limit < len(ordered),
    )
