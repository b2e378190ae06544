"""From a TOML text and an environment to `Settings`, as a pure function that reports every mistake at once.

Later sources win: defaults, then the file, then `HEADRACE_…` variables, then the command line. Each mistake names the
setting and where it was set, with the line where the file can tell.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from headrace.schema.settings.allowed import describe, explain, suggest
from headrace.schema.settings.models import ModelSettings
from headrace.schema.settings.providers import ProviderSettings, list_problems
from headrace.schema.settings.root import Settings
from headrace.schema.settings.route_checks import RouteNames, find_route_problems
from headrace.schema.settings.values import Secret

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
    options: Mapping[str, str] = MappingProxyType({}),
) -> Settings:
    """Build the settings.

    Args:
        source: the settings file, if there is one.
        environ: the environment; every name that starts with `HEADRACE_` must be a setting.
        overrides: from the command line, by dotted path (`gateway.port`).
        read_file: reads the file that a `HEADRACE_…_FILE` variable names; it may raise OSError.
        options: what the overrides are called on the command line, by path: `--port`.

    Raises:
        SettingsError: with every mistake that was found.
    """
    loader = _Loader(source)
    if source is not None:
        loader.read_source(source)
    loader.read_environment(environ, read_file)
    for path, value in overrides.items():
        loader.put(path, value, options.get(path, "command line"))
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
        self._named: dict[str, dict[str, Table]] = {section: {} for section in named_sections()}
        self._origins: dict[str, str] = {}

    def put(self, path: str, value: Any, origin: str) -> None:
        section, key = path.split(".", 1)
        if section in self._named:
            name, key = key.rsplit(".", 1)
            self._named[section].setdefault(name, {})[key] = value
        else:
            self._tables.setdefault(section, {})[key] = value
        self._origins[path] = origin

    def read_source(self, source: ConfigSource) -> None:
        try:
            document = tomllib.loads(source.text)
        except tomllib.TOMLDecodeError as error:
            self.problems.append(f"{source.name}: not valid TOML: {error}")
            return
        sections = plain_sections()
        for section, content in document.items():
            if section not in sections and section not in self._named:
                hint = suggest(section, [*sections, *self._named])
                self.problems.append(f"{source.line_of(section)}: [{section}] is not a section of settings{hint}")
            elif not isinstance(content, dict):
                self.problems.append(f"{source.line_of(section)}: {section} must be a table: [{section}]")
            elif section in self._named:
                self._read_named(source, section, cast("Table", content))
            else:
                self._read_section(source, section, cast("Table", content), sections[section])

    def _read_section(self, source: ConfigSource, section: str, content: Table, struct: type[Struct]) -> None:
        fields = get_type_hints(struct)
        for key, value in content.items():
            path = f"{section}.{key}"
            if key in fields and Secret in get_args(fields[key]):
                variable = variable_name(path)
                self.problems.append(
                    f"{source.line_of(path)}: {path} is a secret and may not be in the file; "
                    f"set {variable}, or {variable}{FILE_SUFFIX} to the name of a file that holds it"
                )
            elif key.endswith("url") and isinstance(value, str) and re.search(r"//[^/@]*:[^/@]+@", value):
                variable = variable_name(f"{section}.{key.removesuffix('url')}password")
                self.problems.append(
                    f"{source.line_of(path)}: {path} holds a password and may not be in the file; set {variable}"
                )
            else:
                self.put(path, value, source.line_of(path))

    def _read_named(self, source: ConfigSource, section: str, content: Table) -> None:
        for name, table in content.items():
            if not isinstance(table, dict):
                where = source.line_of(f"{section}.{name}")
                self.problems.append(f'{where}: use a table: [{section}."{name}"]')
                continue
            self._named[section].setdefault(name, {})
            self._read_section(source, f"{section}.{name}", cast("Table", table), named_sections()[section])

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
                self.problems.append(f"{variable}: there is no such setting{suggest(variable, list(known))}")
                continue
            path, kind = known[target]
            try:
                self.put(path, _from_text(path, value, kind), variable)
            except ValueError as error:
                self.problems.append(f"{variable}: {error}")

    def _known_variables(self) -> dict[str, tuple[str, Any]]:
        known: dict[str, tuple[str, Any]] = {}
        tables = plain_sections()
        for section, struct in named_sections().items():
            tables |= {f"{section}.{name}": struct for name in self._named[section] or getattr(Settings(), section)}
        for section, struct in tables.items():
            for key, kind in get_type_hints(struct, include_extras=True).items():
                known[variable_name(f"{section}.{key}")] = (f"{section}.{key}", kind)
        for alias, path in ALIASES.items():
            known[alias] = known[variable_name(path)]
        return known

    def build(self) -> Settings:
        sections: Table = {
            section: self._convert(section, self._tables.get(section, {}), struct)
            for section, struct in plain_sections().items()
        }
        for section, struct in named_sections().items():
            if self._named[section]:
                sections[section] = self._build_named(section, struct)
        settings = Settings(**sections)
        self._check_adapters(settings.models)
        self._check_providers(settings.providers)
        self._check_routes(settings)
        return settings

    def _build_named(self, section: str, struct: type[Struct]) -> dict[str, Struct]:
        defaults: Mapping[str, Struct] = getattr(Settings(), section)
        built: dict[str, Struct] = {}
        for name, table in self._named[section].items():
            base = msgspec.structs.asdict(defaults[name]) if name in defaults else {}
            missing = [f.name for f in msgspec.structs.fields(struct) if f.required and f.name not in {**base, **table}]
            if missing:
                path = f"{section}.{name}"
                origin = self.source.line_of(path) if self.source else variable_name(path)
                self.problems += [f"{origin}: {path}.{key} is missing: {_needed(struct, key)}" for key in missing]
            else:
                built[name] = self._convert(f"{section}.{name}", {**base, **table}, struct)
        return built

    def _check_adapters(self, models: Mapping[str, ModelSettings]) -> None:
        taken = dict.fromkeys(models, "a model")
        for name, model in models.items():
            for adapter in model.adapters:
                path = f"models.{name}.adapters"
                if adapter in taken:
                    origin = self._origins.get(path, "default")
                    self.problems.append(f"{origin}: {path}: the name {adapter} is already that of {taken[adapter]}")
                taken[adapter] = f"an adapter of {name}"

    def _check_providers(self, providers: Mapping[str, ProviderSettings]) -> None:
        if self.problems:
            # What could not be read is None here, and has been reported.
            return
        for path, problem in list_problems(providers):
            self.problems.append(f"{self._origins.get(path, 'default')}: {path}: {problem}")

    def _check_routes(self, settings: Settings) -> None:
        if self.problems:
            return
        names = RouteNames(models=settings.models, providers=settings.providers, routes=settings.routes)
        for path, problem in find_route_problems(names):
            self.problems.append(f"{self._origin_of(path)}: {path}: {problem}")

    def _origin_of(self, path: str) -> str:
        """Return where a setting or a whole table was set."""
        if path in self._origins:
            return self._origins[path]
        return self.source.line_of(path) if self.source else variable_name(path)

    def _convert(self, section: str, table: Table, struct: type[Struct]) -> Any:
        fields = get_type_hints(struct, include_extras=True)
        values: Table = {}
        for key, value in table.items():
            path = f"{section}.{key}"
            origin = self._origins.get(path, "default")
            if key not in fields:
                self.problems.append(f"{origin}: {path} is not a setting{suggest(key, list(fields))}")
                continue
            if isinstance(value, Secret):
                values[key] = value
            elif (wrong := explain(path, value, fields[key])) is not None:
                self.problems.append(f"{origin}: {wrong}")
            else:
                values[key] = msgspec.convert(value, fields[key])
        for field in msgspec.structs.fields(struct):
            if field.required and field.name not in values:
                # What is wrong with it was said; the rest can still be checked.
                values[field.name] = None
        return struct(**values)


def _needed(struct: type[Struct], key: str) -> str:
    """Return what a setting without a default is for, in the words of its description."""
    kind = get_type_hints(struct, include_extras=True)[key]
    return next(meta.description for meta in kind.__metadata__ if meta.description)


def _is_service_link(variable: str, value: str) -> bool:
    """Tell whether Kubernetes made a variable, for a Service whose name begins with `headrace-`."""
    return bool(_SERVICE_LINK.search(variable)) or (variable.endswith("_PORT") and value.startswith("tcp://"))


def plain_sections() -> dict[str, type[Struct]]:
    """Return the sections that are one table each, `[gateway]` for example."""
    return {name: kind for name, kind in get_type_hints(Settings).items() if get_origin(kind) is not dict}


def named_sections() -> dict[str, type[Struct]]:
    """Return the sections whose tables have names, `[models.NAME]` for example."""
    return {name: get_args(kind)[1] for name, kind in get_type_hints(Settings).items() if get_origin(kind) is dict}


def variable_name(path: str) -> str:
    """Return the environment variable that overrides a setting: `gateway.port` is `HEADRACE_GATEWAY_PORT`."""
    for alias, target in ALIASES.items():
        if target == path:
            return alias
    return _plain_name(path)


def _plain_name(path: str) -> str:
    return PREFIX + re.sub(r"[^A-Za-z0-9]", "_", path).upper()


def _from_text(path: str, text: str, kind: Any) -> Any:
    """Return what a variable of the environment says.

    Raises:
        ValueError: with what is wrong.
    """
    bare = get_args(kind)[0] if hasattr(kind, "__metadata__") else kind
    if Secret in get_args(bare):
        return Secret(text)
    value: Any = text
    if get_origin(bare) is tuple and not text.lstrip().startswith("["):
        value = [item.strip() for item in text.split(",") if item.strip()]
    elif get_origin(bare) in (dict, tuple):
        try:
            value = msgspec.json.decode(text.encode())
        except msgspec.DecodeError:
            # Not quoted: nobody knows what it is.
            raise ValueError(
                f"{path}: what is given is not valid JSON, and allowed is {describe(kind)}, as JSON"
            ) from None
    if (wrong := explain(path, value, kind, strict=False)) is not None:
        raise ValueError(wrong)
    return msgspec.convert(value, kind, strict=False)
