"""From a TOML text and an environment to `Settings`, as a pure function that reports every mistake at once.

Later sources win: defaults, then the file, then `HEADRACE_…` variables, then the command line. Each mistake names the
setting and where it was set, with the line where the file can tell.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, cast, get_args, get_type_hints

import msgspec
from msgspec import Struct

from headrace.schema.settings.model import ModelSettings, Secret, Settings

PREFIX = "HEADRACE_"
FILE_SUFFIX = "_FILE"
# Set by us for our own processes or read before the settings are: not settings.
RESERVED_VARIABLES = frozenset({"HEADRACE_CONFIG"})
# The one variable with a short name: it is what a newcomer types.
ALIASES = {"HEADRACE_API_KEY": "gateway.api_key"}

_SERVICE_LINK = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)$")

Table = dict[str, Any]


class SettingsError(ValueError):
    """Settings that can't be used; the message has one line for each mistake."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ConfigSource(Struct, frozen=True):
    """A settings file that was read: its name for messages, and its text."""

    name: str
    text: str

    def line_of(self, path: str) -> str:
        """Return `NAME, line N`, or just the name where the line can't be told."""
        tables, _, key = path.rpartition(".")
        current: str | None = None
        header = re.compile(r"^\s*\[([^\]]+)\]")
        for number, line in enumerate(self.text.splitlines(), start=1):
            if match := header.match(line):
                current = match[1].replace('"', "").replace("'", "").strip()
                if current == path:
                    return f"{self.name}, line {number}"
            elif (current or "") == tables and re.match(rf"""^\s*["']?{re.escape(key)}["']?\s*=""", line):
                return f"{self.name}, line {number}"
        return self.name


def load_settings(
    *,
    source: ConfigSource | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, Any],
    read_file: Callable[[str], str],
) -> Settings:
    """Build the settings.

    Args:
        source: the settings file, if there is one.
        environ: the environment; every name that starts with `HEADRACE_` must be a setting.
        overrides: from the command line, by dotted path (`gateway.port`).
        read_file: reads the file that a `HEADRACE_…_FILE` variable names; it may raise OSError.

    Raises:
        SettingsError: with every mistake that was found.
    """
    loader = _Loader(source)
    if source is not None:
        loader.read_source(source)
    loader.read_environment(environ, read_file)
    for path, value in overrides.items():
        loader.put(path, value, "command line")
    settings = loader.build()
    if loader.problems:
        raise SettingsError(loader.problems)
    return settings


class _Loader:
    """Collects values with where they came from, and the mistakes on the way."""

    def __init__(self, source: ConfigSource | None) -> None:
        self.source = source
        self.problems: list[str] = []
        self._tables: dict[str, Table] = {}
        self._models: dict[str, Table] = {}
        self._origins: dict[str, str] = {}

    def put(self, path: str, value: Any, origin: str) -> None:
        section, key = path.split(".", 1)
        if section == "models":
            name, key = key.rsplit(".", 1)
            self._models.setdefault(name, {})[key] = value
        else:
            self._tables.setdefault(section, {})[key] = value
        self._origins[path] = origin

    def read_source(self, source: ConfigSource) -> None:
        try:
            document = tomllib.loads(source.text)
        except tomllib.TOMLDecodeError as error:
            self.problems.append(f"{source.name}: not valid TOML: {error}")
            return
        sections = _sections()
        for section, content in document.items():
            if section not in sections and section != "models":
                hint = _suggest(section, [*sections, "models"])
                self.problems.append(f"{source.line_of(section)}: [{section}] is not a section of settings{hint}")
            elif not isinstance(content, dict):
                self.problems.append(f"{source.line_of(section)}: {section} must be a table: [{section}]")
            elif section == "models":
                self._read_models(source, cast("Table", content))
            else:
                self._read_section(source, section, cast("Table", content))

    def _read_section(self, source: ConfigSource, section: str, content: Table) -> None:
        fields = get_type_hints(_sections()[section])
        for key, value in content.items():
            path = f"{section}.{key}"
            if key in fields and Secret in get_args(fields[key]):
                variable = variable_name(path)
                self.problems.append(
                    f"{source.line_of(path)}: {path} is a secret and may not be in the file; "
                    f"set {variable}, or {variable}{FILE_SUFFIX} to the name of a file that holds it"
                )
            elif key == "url" and isinstance(value, str) and re.search(r"//[^/@]*:[^/@]+@", value):
                variable = variable_name(f"{section}.password")
                self.problems.append(
                    f"{source.line_of(path)}: {path} holds a password and may not be in the file; set {variable}"
                )
            else:
                self.put(path, value, source.line_of(path))

    def _read_models(self, source: ConfigSource, content: Table) -> None:
        for name, table in content.items():
            if not isinstance(table, dict):
                self.problems.append(f'{source.line_of(f"models.{name}")}: use a table: [models."{name}"]')
                continue
            self._models.setdefault(name, {})
            for key, value in cast("Table", table).items():
                self.put(f"models.{name}.{key}", value, source.line_of(f"models.{name}.{key}"))

    def read_environment(self, environ: Mapping[str, str], read_file: Callable[[str], str]) -> None:
        known = self._known_variables()
        for variable in sorted(name for name in environ if name.startswith(PREFIX)):
            if variable in RESERVED_VARIABLES or _is_service_link(variable, environ[variable]):
                continue
            target, value = variable, environ[variable]
            if variable not in known and variable.endswith(FILE_SUFFIX):
                target = variable.removesuffix(FILE_SUFFIX)
                try:
                    value = read_file(value).strip()
                except OSError as error:
                    self.problems.append(f"{variable}: can't read {value}: {error.strerror}")
                    continue
            if target not in known:
                self.problems.append(f"{variable}: there is no such setting{_suggest(variable, list(known))}")
                continue
            path, kind = known[target]
            try:
                self.put(path, _from_text(value, kind), variable)
            except (msgspec.ValidationError, msgspec.DecodeError) as error:
                self.problems.append(f"{variable}: {path}: {_reason(error)}")

    def _known_variables(self) -> dict[str, tuple[str, Any]]:
        known: dict[str, tuple[str, Any]] = {}
        for section, struct in _sections().items():
            for key, kind in get_type_hints(struct, include_extras=True).items():
                known[variable_name(f"{section}.{key}")] = (f"{section}.{key}", kind)
        for name in self._models or Settings().models:
            for key, kind in get_type_hints(ModelSettings, include_extras=True).items():
                known[variable_name(f"models.{name}.{key}")] = (f"models.{name}.{key}", kind)
        for alias, path in ALIASES.items():
            known[alias] = known[variable_name(path)]
        return known

    def build(self) -> Settings:
        sections = {
            section: self._convert(section, self._tables.get(section, {}), struct)
            for section, struct in _sections().items()
        }
        if not self._models:
            return Settings(**sections)
        defaults = Settings().models
        models: dict[str, ModelSettings] = {}
        for name, table in self._models.items():
            base = msgspec.structs.asdict(defaults[name]) if name in defaults else {}
            if not base and "weights" not in table:
                origin = self.source.line_of(f"models.{name}") if self.source else variable_name(f"models.{name}")
                self.problems.append(f"{origin}: models.{name}.weights is missing: say where its weights are")
                continue
            models[name] = self._convert(f"models.{name}", {**base, **table}, ModelSettings)
        self._check_adapters(models)
        return Settings(**sections, models=models)

    def _check_adapters(self, models: Mapping[str, ModelSettings]) -> None:
        taken = dict.fromkeys(models, "a model")
        for name, model in models.items():
            for adapter in model.adapters:
                path = f"models.{name}.adapters"
                if adapter in taken:
                    origin = self._origins.get(path, "default")
                    self.problems.append(f"{origin}: {path}: the name {adapter} is already that of {taken[adapter]}")
                taken[adapter] = f"an adapter of {name}"

    def _convert(self, section: str, table: Table, struct: type[Struct]) -> Any:
        fields = get_type_hints(struct, include_extras=True)
        values: Table = {}
        for key, value in table.items():
            path = f"{section}.{key}"
            origin = self._origins.get(path, "default")
            if key not in fields:
                self.problems.append(f"{origin}: {path} is not a setting{_suggest(key, list(fields))}")
                continue
            try:
                values[key] = value if isinstance(value, Secret) else msgspec.convert(value, fields[key])
            except msgspec.ValidationError as error:
                self.problems.append(f"{origin}: {path}: {_reason(error)}")
        if struct is ModelSettings:
            values.setdefault("weights", "")
        return struct(**values)


def _is_service_link(variable: str, value: str) -> bool:
    """Tell whether Kubernetes made a variable, for a Service whose name begins with `headrace-`."""
    return bool(_SERVICE_LINK.search(variable)) or (variable.endswith("_PORT") and value.startswith("tcp://"))


def _sections() -> dict[str, type[Struct]]:
    return {name: kind for name, kind in get_type_hints(Settings).items() if name != "models"}


def variable_name(path: str) -> str:
    """Return the environment variable that overrides a setting: `gateway.port` is `HEADRACE_GATEWAY_PORT`."""
    for alias, target in ALIASES.items():
        if target == path:
            return alias
    return _plain_name(path)


def _plain_name(path: str) -> str:
    return PREFIX + re.sub(r"[^A-Za-z0-9]", "_", path).upper()


def _from_text(text: str, kind: Any) -> Any:
    bare = get_args(kind)[0] if hasattr(kind, "__metadata__") else kind
    if Secret in get_args(bare):
        return Secret(text)
    if getattr(bare, "__origin__", None) is dict:
        return msgspec.json.decode(text.encode(), type=bare)
    return msgspec.convert(text, kind, strict=False)


def _reason(error: Exception) -> str:
    return str(error).split(" - at ", maxsplit=1)[0]


def _suggest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
