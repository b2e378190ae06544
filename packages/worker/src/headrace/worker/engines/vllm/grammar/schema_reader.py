"""Reading JSON Schema: references, `allOf` and what is mere annotation worked out, the rest as it was.

What comes out is a flat schema: at its top there is no `$ref`, `allOf` or `const`. A keyword that can't be kept to is
refused by its name and its place.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from headrace.worker.engines.vllm.grammar.conjoin import conjoin
from headrace.worker.engines.vllm.grammar.refusal import GrammarRefusedError, NothingFitsError
from headrace.worker.engines.vllm.grammar.shapes import check_shapes

MAX_DEPTH = 64
MAX_NODES = 20_000

REFUSED = (
    "not",
    "if",
    "contains",
    "dependentSchemas",
    "unevaluatedItems",
    "$dynamicRef",
    "$recursiveRef",
)
# Nothing that a value could break.
_ANNOTATIONS = frozenset(
    [
        "title",
        "description",
        "default",
        "examples",
        "example",
        "$comment",
        "$schema",
        "$id",
        "id",
        "$anchor",
        "$defs",
        "definitions",
        "deprecated",
        "readOnly",
        "writeOnly",
        "contentMediaType",
        "contentEncoding",
        "contentSchema",
        "discriminator",
        "xml",
        "externalDocs",
        "then",
        "else",
        "minContains",
        "maxContains",
    ]
)


class SchemaReader:
    """Reads one document.

    Args:
        document: the whole schema, which references point into.

    Raises:
        GrammarRefusedError: it is nested too deeply, or too large.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        _check_size(document)

    def read(self, schema: Any) -> dict[str, Any]:
        """Return a schema flattened.

        Raises:
            NothingFitsError: it accepts no value.
            GrammarRefusedError: it has a keyword that can't be kept to.
        """
        return self._flatten(schema, ())

    def find_reference(self, schema: Any) -> str | None:
        """Return where a schema points to, if that is all that it does."""
        if not isinstance(schema, Mapping) or "$ref" not in schema:
            return None
        rest = {name for name in schema if name != "$ref" and name not in _ANNOTATIONS}  # pyright: ignore[reportUnknownVariableType]
        return None if rest else _check_reference(schema["$ref"])

    def follow(self, reference: str) -> Any:
        """Return what a reference points to.

        Raises:
            GrammarRefusedError: nothing is there.
        """
        place: Any = self._document
        for part in reference.lstrip("#").split("/")[1:]:
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(place, Mapping) and name in place:
                place = place[name]  # pyright: ignore[reportUnknownVariableType]
            elif isinstance(place, list) and name.isdigit() and int(name) < len(place):  # pyright: ignore[reportUnknownArgumentType]
                place = place[int(name)]  # pyright: ignore[reportUnknownVariableType]
            else:
                raise GrammarRefusedError("$ref points to nothing")
        return place  # pyright: ignore[reportUnknownVariableType]

    def _flatten(self, schema: Any, seen: tuple[str, ...]) -> dict[str, Any]:
        if schema is True:
            return {}
        if schema is False:
            raise NothingFitsError("false accepts no value")
        if not isinstance(schema, Mapping):
            raise GrammarRefusedError("a schema must be an object or a boolean")
        flat = _read_own_keywords(schema)  # pyright: ignore[reportUnknownArgumentType]
        if "$ref" in schema:
            reference = _check_reference(schema["$ref"])
            if reference in seen or len(seen) > MAX_DEPTH:
                raise GrammarRefusedError("$ref leads back to itself")
            flat = conjoin(self._flatten(self.follow(reference), (*seen, reference)), flat)
        for branch in _list_branches(schema, "allOf"):  # pyright: ignore[reportUnknownArgumentType]
            if len(seen) > MAX_DEPTH:
                raise GrammarRefusedError("allOf is nested too deeply")
            flat = conjoin(flat, self._flatten(branch, (*seen, "allOf")))
        return flat


def _read_own_keywords(schema: Mapping[str, Any]) -> dict[str, Any]:
    for name in REFUSED:
        if name in schema and not (name == "unevaluatedItems" and schema[name] is True):
            raise GrammarRefusedError(f"{name} can't be kept to")
    own = {name: value for name, value in schema.items() if name not in _ANNOTATIONS and name not in ("$ref", "allOf")}
    _modernise(own)
    check_shapes(own)
    if "const" in own:
        own = conjoin(own, {"enum": [own.pop("const")]})
    for name in ("anyOf", "oneOf"):
        if name in own:
            own[name] = _list_branches(own, name)
    return own


def _modernise(own: dict[str, Any]) -> None:
    """Turn what older drafts say into words of 2020-12."""
    if isinstance(own.get("items"), list):
        own["prefixItems"] = own.pop("items")
        if "additionalItems" in own:
            own["items"] = own.pop("additionalItems")
    own.pop("additionalItems", None)
    dependencies = own.pop("dependencies", {})
    if dependencies:
        if not isinstance(dependencies, dict) or not all(isinstance(names, list) for names in dependencies.values()):  # pyright: ignore[reportUnknownVariableType]
            raise GrammarRefusedError("dependencies can't be kept to")
        own.setdefault("dependentRequired", dependencies)


def _list_branches(schema: Mapping[str, Any], name: str) -> list[Any]:
    branches = schema.get(name, [])
    if not isinstance(branches, list) or (name in schema and not branches):
        raise GrammarRefusedError(f"{name} must be a list of schemas")
    return list(branches)  # pyright: ignore[reportUnknownArgumentType]


def _check_reference(reference: Any) -> str:
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        raise GrammarRefusedError("$ref can only point into the schema itself, as in #/$defs/NAME")
    return reference


def _check_size(document: Any) -> None:
    level: list[Any] = [document]
    count = 0
    for _ in range(MAX_DEPTH + 1):
        count += len(level)
        if count > MAX_NODES:
            raise GrammarRefusedError("it is too large")
        level = [child for place in level for child in _list_children(place)]
        if not level:
            return
    raise GrammarRefusedError(f"it is nested more than {MAX_DEPTH} deep")


def _list_children(place: Any) -> list[Any]:
    match place:
        case dict():
            return list(place.values())  # pyright: ignore[reportUnknownArgumentType]
        case list():
            return list(place)  # pyright: ignore[reportUnknownArgumentType]
        case _:
            return []
