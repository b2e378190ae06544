"""Any JSON at all, and the white space in it."""

from functools import cached_property

from headrace.worker.engines.vllm.grammar.ebnf import Rules
from headrace.worker.engines.vllm.grammar.numbers import ANY_NUMBER
from headrace.worker.engines.vllm.grammar.strings import any_string

# Nothing, a space, or a new line with its indentation: without a limit, a model may go on with white space for ever.
_SPACE = '"" | " " | "\\n" [ ]{0,16}'


class JsonValues:
    """Rules for any value; each is made when it is first asked for."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    @cached_property
    def space(self) -> str:
        """Where white space may be."""
        return self._rules.add(_SPACE)

    @cached_property
    def any_value(self) -> str:
        """Any value."""
        name = self._rules.reserve()
        string, space = any_string(self._rules), self.space
        member = self._rules.add(f'{string} ":" " "? {name}')
        more_members = self._rules.add_recursive(lambda itself: f'{space} "}}" | "," {space} {member} {itself}')
        more_items = self._rules.add_recursive(lambda itself: f'{space} "]" | "," {space} {name} {itself}')
        self.__dict__["any_object"] = self._rules.add(f'"{{" {space} ("}}" | {member} {more_members})')
        array = self._rules.add(f'"[" {space} ("]" | {name} {more_items})')
        self._rules.define(name, f'{string} | {self.any_object} | {array} | {ANY_NUMBER} | "true" | "false" | "null"')
        return name

    @cached_property
    def any_object(self) -> str:
        """Any object."""
        _ = self.any_value
        return str(self.__dict__["any_object"])
