"""The served models as Anthropic's clients list them."""

from collections.abc import Mapping
from datetime import UTC, datetime

from litestar.datastructures import MultiDict
from msgspec import Struct

from headrace.gateway.catalogue import ServedModel
from headrace.gateway.dialects.anthropic.answers import ModelInfo, ModelPage
from headrace.gateway.dialects.anthropic.messages import refuse_value

DEFAULT_LIMIT = 20
MAX_LIMIT = 1000
_LIFECYCLE, _ACTIVE = ("lifecycle", "lifecycle[]"), "active"


class PageQuery(Struct, frozen=True, kw_only=True):
    """Which page of the list.

    Attributes:
        limit: models on it.
        after: it begins after this model.
        before: it ends before this model.
        has_active: whether models that are in use are on it, which all of ours are.
    """

    has_active: bool = True
    limit: int = DEFAULT_LIMIT
    after: str | None = None
    before: str | None = None


def read_page_query(query: MultiDict[str]) -> PageQuery:
    """Return which page a query string asks for.

    Raises:
        RequestRefusedError: naming the parameter.
    """
    text = query.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= MAX_LIMIT):
        raise refuse_value("limit", f"it must be a whole number from 1 to {MAX_LIMIT}")
    stages = [value for name in _LIFECYCLE for value in query.getall(name, [])]
    return PageQuery(
        has_active=not stages or _ACTIVE in stages,
        limit=int(text),
        after=query.get("after_id"),
        before=query.get("before_id"),
    )


def to_model_page(models: Mapping[str, ServedModel], query: PageQuery) -> ModelPage:
    """Return a page of the list.

    Raises:
        RequestRefusedError: there is no such model to begin after or to end before.
    """
    names = list(models) if query.has_active else []
    first, last = 0, len(names)
    if query.after is not None:
        first = _place_of(query.after, names, "after_id") + 1
    if query.before is not None:
        last = _place_of(query.before, names, "before_id")
    found = names[first:last]
    # Before a model are those nearest to it.
    shown = found[-query.limit :] if query.before is not None and query.after is None else found[: query.limit]
    return ModelPage(
        data=tuple(to_model_info(name, models[name]) for name in shown),
        first_id=shown[0] if shown else None,
        last_id=shown[-1] if shown else None,
        has_more=len(shown) < len(found),
    )


def _place_of(name: str, names: list[str], param: str) -> int:
    if name not in names:
        raise refuse_value(param, "there is no model of this id")
    return names.index(name)


def to_model_info(name: str, model: ServedModel) -> ModelInfo:
    """Return one model."""
    created = datetime.fromtimestamp(model.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return ModelInfo(id=name, display_name=name, created_at=created, max_input_tokens=model.max_model_tokens)
