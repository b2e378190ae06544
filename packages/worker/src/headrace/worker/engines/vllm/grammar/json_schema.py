"""JSON Schema as a grammar: what it writes is always accepted by the schema, and need not be all that is.

It narrows where a grammar can't do better: the declared properties come in their order, an object that declares some
has no others unless `additionalProperties` says so, patterns match whole texts, a type is chosen by the keywords where
none is named, and lengths and ranges without an end get one.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from headrace.worker.engines.vllm.grammar.apart import set_apart
from headrace.worker.engines.vllm.grammar.conjoin import conjoin, list_types
from headrace.worker.engines.vllm.grammar.ebnf import Rules, write_choice
from headrace.worker.engines.vllm.grammar.json_arrays import write_array
from headrace.worker.engines.vllm.grammar.json_objects import write_object
from headrace.worker.engines.vllm.grammar.json_values import JsonValues
from headrace.worker.engines.vllm.grammar.numbers import write_integer, write_number
from headrace.worker.engines.vllm.grammar.refusal import GrammarRefusedError, NothingFitsError
from headrace.worker.engines.vllm.grammar.schema_reader import MAX_DEPTH, SchemaReader
from headrace.worker.engines.vllm.grammar.strings import write_json, write_string
from headrace.worker.engines.vllm.grammar.values import list_values

MAX_WRITTEN = 20_000
_SHORT = 40

_KEYWORDS: dict[str, tuple[str, ...]] = {
    "object": (
        "properties",
        "required",
        "additionalProperties",
        "patternProperties",
        "propertyNames",
        "minProperties",
        "maxProperties",
        "dependentRequired",
        "unevaluatedProperties",
    ),
    "array": ("items", "prefixItems", "minItems", "maxItems", "uniqueItems"),
    "string": ("minLength", "maxLength", "pattern"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}


def write_json_schema(rules: Rules, schema: Mapping[str, Any]) -> str:
    """Return the expression for the JSON that a schema accepts.

    Args:
        rules: where the rules go that it needs.
        schema: JSON Schema, 2020-12 or an older draft's words.

    Raises:
        GrammarRefusedError: it can't be kept to, or accepts nothing.
    """
    return _SchemaWriter(rules, schema).write(schema)


def write_object_schema(rules: Rules, schema: Mapping[str, Any]) -> str:
    """Return the expression for the JSON objects that a schema accepts; see `write_json_schema`."""
    return _SchemaWriter(rules, schema).write_object(schema)


class _SchemaWriter:
    def __init__(self, rules: Rules, document: Mapping[str, Any]) -> None:
        self._rules = rules
        self._reader = SchemaReader(document)
        self._values = JsonValues(rules)
        self._references: dict[str, str] = {}
        self._empty: set[str] = set()
        self._place: list[str] = []
        self._written = 0

    def write(self, schema: Any) -> str:
        """Return the expression for a subschema."""
        self._written += 1
        if self._written > MAX_WRITTEN:
            raise GrammarRefusedError("it is too large")
        if len(self._place) > MAX_DEPTH:
            raise GrammarRefusedError("it leads back to itself without end")
        try:
            reference = self._reader.find_reference(schema)
            written = self._write_flat(self._reader.read(schema)) if reference is None else self._refer(reference)
            # It may be used in several places.
            return self._rules.add(written) if len(written) > _SHORT else written
        except GrammarRefusedError as error:
            error.place = error.place or ".".join(self._place)
            raise

    def write_object(self, schema: Any) -> str:
        """Return the expression for the objects of the whole document."""
        try:
            return self._write_flat(conjoin({"type": "object"}, self._reader.read(schema)))
        except GrammarRefusedError as error:
            error.place = error.place or ""
            raise

    def list_values(self, schema: Any) -> list[str] | None:
        """Return the expressions of all values that a subschema accepts, where it is an enum."""
        flat = self._reader.read(schema)
        return [write_json(value) for value in list_values(flat)] if "enum" in flat and "anyOf" not in flat else None

    @contextmanager
    def at(self, place: str) -> Generator[None]:
        """Within this, what is refused is refused at a place below."""
        self._place.append(place)
        try:
            yield
        finally:
            self._place.pop()

    def _refer(self, reference: str) -> str:
        if reference in self._empty:
            raise NothingFitsError("$ref leads to a schema that accepts no value")
        if (name := self._references.get(reference)) is None:
            target = self._reader.follow(reference)
            # A chain of mere references would have rules without an end.
            self._reader.read(target)
            name = self._references[reference] = self._rules.reserve()
            outside, self._place = self._place, [reference]
            try:
                self._rules.define(name, self.write(target))
            except NothingFitsError:
                self._empty.add(reference)
                # What was written before this was known may name the rule, and is used by nothing.
                self._rules.define(name, f'"0" {name}')
                raise
            finally:
                self._place = outside
        return name

    def _write_flat(self, schema: dict[str, Any]) -> str:
        if "anyOf" in schema:
            return self._write_any_of(schema)
        if "oneOf" in schema:
            return self._write_one_of(schema)
        if "enum" in schema:
            return write_choice(write_json(value) for value in list_values(schema))
        kinds = list_types(schema["type"]) if "type" in schema else _guess_types(schema)
        if not kinds:
            return self._values.any_value
        return self._write_first_that_fits([(kind, schema) for kind in kinds])

    def _write_any_of(self, schema: dict[str, Any]) -> str:
        branches: list[Any] = schema.pop("anyOf")
        return self._write_branches([{"allOf": [schema, branch]} if schema else branch for branch in branches], "anyOf")

    def _write_one_of(self, schema: dict[str, Any]) -> str:
        flat: list[dict[str, Any]] = []
        for branch in schema.pop("oneOf"):
            try:
                flat.append(conjoin(schema, self._reader.read(branch)))
            except NothingFitsError:
                continue
        return self._write_branches(list(set_apart(flat)), "oneOf")

    def _write_branches(self, branches: list[Any], name: str) -> str:
        written: list[str] = []
        for i, branch in enumerate(branches):
            with suppress(NothingFitsError), self.at(f"{name}[{i}]"):
                written.append(self.write(branch))
        if not written:
            raise NothingFitsError(f"no branch of {name} accepts a value")
        return self._rules.add(" | ".join(dict.fromkeys(written)))

    def _write_first_that_fits(self, kinds: list[tuple[str, dict[str, Any]]]) -> str:
        written: list[str] = []
        failure: NothingFitsError | None = None
        for kind, schema in kinds:
            try:
                written.append(self._write_type(kind, schema))
            except NothingFitsError as error:
                failure = error
        if failure is not None and not written:
            raise failure
        return write_choice(written)

    def _write_type(self, kind: str, schema: dict[str, Any]) -> str:
        match kind:
            case "object":
                return write_object(self._rules, self._values, schema, self)
            case "array":
                return write_array(self._rules, self._values, schema, self)
            case "string":
                return write_string(self._rules, schema)
            case "integer":
                return write_integer(self._rules, schema)
            case "number":
                return write_number(self._rules, schema)
            case "boolean":
                return '("true" | "false")'
            case _:
                return '"null"'


def _guess_types(schema: Mapping[str, Any]) -> list[str]:
    return [kind for kind, names in _KEYWORDS.items() if any(name in schema for name in names)]
