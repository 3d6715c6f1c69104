"""Settings from three places: `dicomwire.toml`, below the environment, below flags.

What is unknown or cannot be is one `ConfigurationError`, with a line for every fault: where it stands and,
where an unknown name is close to a known one, which was meant.
"""

from __future__ import annotations

import difflib
import itertools
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource, SettingsError

from dicomwire.errors import ConfigurationError
from dicomwire.node.settings import ENVIRONMENT_PREFIX, NESTED, Settings

DEFAULT_FILE = Path("dicomwire.toml")
FILE_VARIABLE = "DICOMWIRE_CONFIG"  # names the file, as --config does; it is no setting

MASK = "**********"  # as pydantic prints a SecretStr

Tree = dict[str, object]  # tables of TOML: values are plain values, lists and further trees
Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings and where each that is no default came from.

    Attributes:
        settings: the settings, validated.
        file: the file that was read, if any.
        origins: key (`dimse.port`) to its place in words: a file, a variable or a flag.
    """

    settings: Settings
    file: Path | None
    origins: Mapping[str, str]


def load(*, file: Path | None = None, flags: Mapping[str, object] | None = None) -> Configuration:
    """Settings of file, environment and flags, the later over the earlier.

    Args:
        file: a TOML file; without it `DICOMWIRE_CONFIG`, then `dicomwire.toml` in this folder, if there.
        flags: key (`dimse.port`) to value; None is a flag that was not given.
    Raises: ConfigurationError, with one line per fault.
    """
    path = _find(file)
    from_file = _read(path) if path else {}
    from_environment = _environment()
    from_flags = _tree({key: value for key, value in (flags or {}).items() if value is not None})
    origins = {_dotted(key): str(path) for key in _leaves(from_file)}
    origins |= {_dotted(key): _variable(key) for key in _leaves(from_environment)}
    origins |= {_dotted(key): "flag" for key in _leaves(from_flags)}
    merged = _merge(_merge(from_file, from_environment), from_flags)
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        raise ConfigurationError("\n".join(_fault(each, origins) for each in error.errors())) from None
    return Configuration(settings, path, origins)


def plain(settings: Settings) -> Tree:
    """The settings as plain values, secrets masked, what is not set left out."""
    tree: Tree = json.loads(settings.model_dump_json(exclude_none=True))
    archive = tree["archive"]
    if isinstance(archive, dict):
        archive["catalogue"] = re.sub(r"(://[^:/@]*):[^@]*@", rf"\1:{MASK}@", archive["catalogue"])
    return {name: value for name, value in tree.items() if value != []}


def schema() -> Tree:
    """JSON Schema of `dicomwire.toml`, for editors."""
    return {**Settings.model_json_schema(), "title": "dicomwire.toml"}


def _find(given: Path | None) -> Path | None:
    if given is not None:
        return given
    if named := os.environ.get(FILE_VARIABLE):
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def _read(path: Path) -> Tree:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not TOML: {error}") from None


def _environment() -> Tree:
    """What the environment sets; every variable with our prefix must be a setting."""
    faults = []
    for name in sorted(os.environ):
        if name.upper().startswith(ENVIRONMENT_PREFIX) and name.upper() != FILE_VARIABLE:
            key = name[len(ENVIRONMENT_PREFIX) :].lower().split(NESTED)
            if fault := _variable_fault(key, os.environ[name]):
                faults.append(f"environment variable {name}: {fault}")
    if faults:
        raise ConfigurationError("\n".join(faults))
    try:
        tree: Tree = _Environment(Settings)()
    except SettingsError as error:
        raise ConfigurationError(f"environment: {error}") from None
    return tree


def _variable_fault(key: Sequence[str], value: str) -> str:
    """What is wrong with one variable, or nothing; values are judged with all others by `load`."""
    model: type[BaseModel] | None = Settings
    listed = False
    for depth, part in enumerate(key):
        names = model.model_fields if model and not listed else {}
        if part not in names:
            meant = _closest(key, depth, list(names))
            return f"no such setting{f'; did you mean {_variable(meant)}?' if meant else ''}"
        model, listed = _kind(names[part].annotation)
    if (model or listed) and not (listed and model is None and not value.lstrip().startswith("[")):
        try:
            json.loads(value)
        except ValueError as error:
            return f"tables and lists are written as JSON in the environment: {error}"
    return ""


class _Environment(EnvSettingsSource):
    """The environment, where a list of words may also be written `a,b`."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: object) -> object:
        if isinstance(value, str) and not value.lstrip().startswith(("[", "{")):
            return [word.strip() for word in value.split(",") if word.strip()]
        return super().decode_complex_value(field_name, field, value)


def _kind(annotation: object) -> tuple[type[BaseModel] | None, bool]:
    """The table that an annotation holds, if any, and whether it holds a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    parts = [_kind(part) for part in get_args(annotation)]
    model = next((found for found, _ in parts if found), None)
    return model, get_origin(annotation) is tuple or any(listed for _, listed in parts)


def _closest(key: Sequence[str], depth: int, names: Sequence[str]) -> Key:
    """The known key that an unknown part of a key was meant to be; empty when none is close."""
    for known in _known(Settings):
        # The right word in the wrong table, DICOMWIRE_AE_TITLE, or one underscore, DICOMWIRE_DIMSE_PORT.
        if depth + 1 == len(key) and key[depth] in (known[-1], "_".join(known)):
            return known
    meant = difflib.get_close_matches(key[depth], names, 1)
    return (*key[:depth], *meant, *key[depth + 1 :]) if meant else ()


def _known(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        inner, listed = _kind(field.annotation)
        if inner is None:
            yield (*above, name)
        elif not listed:
            yield from _known(inner, (*above, name))


def _fault(error: ErrorDetails, origins: Mapping[str, str]) -> str:
    """One fault as a line: place, key, what is wrong, got and meant."""
    key = error["loc"]
    place = next((origin for above in _ancestry(key) for origin in _under(above, origins)), "settings")
    name = re.sub(r"\.(\d+)", r"[\1]", _dotted(key))
    if error["type"] == "extra_forbidden":
        meant = _meant(key)
        hint = f"; did you mean {meant!r}?" if meant else ""
        return f"{place}: {name}: unknown key{hint}"
    if error["type"] == "missing":
        return f"{place}: {name}: must be set"
    message = re.sub(r"^(Value error, |(Input|String|Value|Tuple|List) (?=should))", "", error["msg"])
    shown = isinstance(error["input"], str | int | float) and not _secret(key)
    got = f", got {error['input']!r}" if shown else ""
    return f"{place}: {name}: {message}{got}" if key else f"{place}: {message}"


def _meant(key: Key) -> str:
    """The known name that an unknown one of a file was meant to be, with its table when that is another."""
    model: type[BaseModel] | None = Settings
    words = [part for part in key if isinstance(part, str)]
    for part in words[:-1]:
        model = (
            _kind(model.model_fields[part].annotation)[0] if model and part in model.model_fields else None
        )
    names = list(model.model_fields) if model else []
    meant = _closest(words, len(words) - 1, names)
    return str(meant[-1]) if meant and meant[:-1] == tuple(words[:-1]) else _dotted(meant)


def _secret(key: Key) -> bool:
    return any(isinstance(part, str) and ("password" in part or "secret" in part) for part in key)


def _merge(under: Mapping[str, object], over: Mapping[str, object]) -> Tree:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _tree(flat: Mapping[str, object]) -> Tree:
    tree: Tree = {}
    for dotted, value in flat.items():
        for part in reversed(dotted.split(".")):
            value = {part: value}
        tree = _merge(tree, value) if isinstance(value, dict) else tree
    return tree


def _leaves(tree: object, above: Key = ()) -> Iterator[Key]:
    """Keys of the values in a tree, tables in lists by their index."""
    if isinstance(tree, dict) and (tree or not above):
        for key, value in tree.items():
            yield from _leaves(value, (*above, key))
    elif isinstance(tree, list) and tree and all(isinstance(entry, dict) for entry in tree):
        for index, entry in enumerate(tree):
            yield from _leaves(entry, (*above, index))
    else:
        yield above


def _ancestry(key: Key) -> Iterator[str]:
    return (_dotted(key[:length]) for length in range(len(key), 0, -1))


def _under(above: str, origins: Mapping[str, str]) -> Iterator[str]:
    """Where a key or a table came from."""
    return (origin for name, origin in origins.items() if f"{name}.".startswith(f"{above}."))


def _dotted(key: Key | Sequence[str]) -> str:
    return ".".join(map(str, key))


def _variable(key: Key | Sequence[str]) -> str:
    words = itertools.takewhile(lambda part: isinstance(part, str), key)
    return ENVIRONMENT_PREFIX + NESTED.join(map(str, words)).upper()
