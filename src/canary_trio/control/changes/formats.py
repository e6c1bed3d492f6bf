"""Documents as YAML and TOML: what they hold is what JSON can. Pure.

A document in the store is JSON. In a file it may be YAML (`.yaml`, `.yml`) or TOML (`.toml`), by
its name. What JSON does not have is a fault with its path: dates, keys that are no text, a key
twice. YAML 1.1 takes on, off, yes and no for true and false, which is said where it matters.
"""

from __future__ import annotations

import importlib
import json
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

from canary_trio.config.codec import show
from canary_trio.config.document import SIZE_LIMIT, parse
from canary_trio.errors import InvalidConfig, MissingExtra, Problem

VALUES = 200_000
"""Values of a file at most, each alias of YAML counted as all that it stands for."""

_DEPTH = 64  # of tables and lists in each other
_WORDS = 200  # characters of what a reader of YAML or TOML found
_HINT = "; YAML takes on, off, yes and no for true and false: put it in quotes"


def parse_file(text: bytes, name: str) -> dict[str, Any]:
    """Read a document in the format that the name of its file says; JSON by default.

    Raises:
        InvalidConfig: it is none.
        MissingExtra: it is YAML, and nothing here reads that.
    """
    suffix = name.lower().rpartition(".")[2]
    read = _READERS.get(suffix)
    if read is None:
        return parse(text)
    if len(text) > SIZE_LIMIT:
        raise _invalid(f"{len(text)} bytes", f"at most {SIZE_LIMIT}")
    try:
        found = read(text.decode())
    except UnicodeDecodeError as exc:
        raise _invalid(f"a bad byte at {exc.start}", "UTF-8") from exc
    except RecursionError as exc:
        raise _invalid("values nested too deeply", "a plain document") from exc
    odd = list(_oddities(found, is_yaml=suffix != "toml"))
    if odd:
        raise InvalidConfig(odd)
    return parse(json.dumps(found, ensure_ascii=False))


def _read_toml(text: str) -> Any:
    try:
        return tomllib.loads(text)
    except ValueError as exc:
        raise _invalid(_short(exc), "TOML") from exc


def _read_yaml(text: str) -> Any:
    try:
        yaml: Any = importlib.import_module("yaml")
    except ImportError as exc:
        raise MissingExtra("YAML", "yaml") from exc

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  # PyYAML's
            plain = [key for key, _ in node.value if key.tag != _MERGE]
            seen: set[Any] = set()
            for key in plain:
                name = self.construct_object(key, deep=True)
                if isinstance(name, list | dict) or name in seen:
                    raise yaml.constructor.ConstructorError(
                        None,
                        None,
                        f"found the key {show(name)}, expected text, each key once",
                        key.start_mark,
                    )
                seen.add(name)
            found: dict[Any, Any] = super().construct_mapping(node, deep)
            return found

    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = getattr(exc, "problem", None) or str(exc).splitlines()[0]
        raise _invalid(f"{what}{place}", "YAML") from exc
    except (ValueError, TypeError, OverflowError, LookupError, AttributeError) as exc:
        # such as a 13th month, or a tag that its text does not fit: `!!timestamp "x"`
        raise _invalid(_short(exc), "YAML") from exc


_MERGE = "tag:yaml.org,2002:merge"

_READERS: dict[str, Callable[[str], Any]] = {
    "toml": _read_toml,
    "yaml": _read_yaml,
    "yml": _read_yaml,
}


def _oddities(document: Any, *, is_yaml: bool) -> Iterator[Problem]:
    """Give what JSON does not have, each with its path; no more than is worth reading."""
    left: list[tuple[str, int, Any]] = [("$", 0, document)]
    count = told = 0
    while left and told < 100:
        path, depth, found = left.pop()
        count += 1
        if count > VALUES or depth > _DEPTH:
            yield Problem(path, "values beyond number, or depth", "a plain document")
            return
        if isinstance(found, dict):
            for key, value in reversed(found.items()):
                if isinstance(key, str):
                    left.append((f"{path}.{key}", depth + 1, value))
                    continue
                told += 1
                hint = _HINT if is_yaml and isinstance(key, bool) else ""
                yield Problem(path, f"the key {_plain(key)}", f"text{hint}")
        elif isinstance(found, list):
            left += [
                (f"{path}[{place}]", depth + 1, value)
                for place, value in reversed(list(enumerate(found)))
            ]
        elif not isinstance(found, str | bool | int | float | None):
            told += 1
            kind = type(found).__name__
            yield Problem(path, f"{_plain(found)}, a {kind}", "text: put it in quotes")


def yaml_hint(problems: tuple[Problem, ...], name: str) -> str:
    """Say what may be the reason where YAML has true or false, and text is expected."""
    is_yaml = name.lower().endswith((".yaml", ".yml"))
    words = any(problem.found in ("true", "false") for problem in problems)
    return _HINT.removeprefix("; ") if is_yaml and words else ""


def _plain(value: object) -> str:
    words = str(value).lower() if isinstance(value, bool) else str(value)
    return words if len(words) <= 60 else words[:57] + "..."


def _short(fault: Exception) -> str:
    """Leave out what is said to programmers, such as how Python's limit is raised."""
    return str(fault).partition("; use ")[0] or "what no value can be made of"


def _invalid(found: str, expected: str) -> InvalidConfig:
    shown = found if len(found) <= _WORDS else f"{found[:_WORDS]}..."
    return InvalidConfig([Problem("$", shown, expected)])
