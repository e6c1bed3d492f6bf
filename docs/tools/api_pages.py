"""What a package offers to a program, from its signatures and docstrings.

Names are those of `__all__`, by kind; each is described by its docstring in Google's layout, a
field by its own words where it has some.
"""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import os
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

SECTIONS = ("Args", "Attributes", "Raises", "Returns", "Yields", "Examples", "Example")
KINDS = ("Functions", "Classes", "Choices", "Errors", "Types")
STARS: Mapping[object, str] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}
INTRODUCTION = {
    "http_trio": "HTTP/1.1 and HTTP/2 on trio: a server, a proxy's wire, and one kind of handler."
    " [Writing a handler](../guides/handler.md) is the guide.",
    "kv_trio": "The store and its client. [store.md](../store.md) says what the store promises;"
    " [a live value](../guides/live-flag.md) is the guide.",
    "canary_trio": "The proxy, its document, and what is written and read of it."
    " [Embedding](../guides/embed.md) is the guide.",
}


def api_page(package: str) -> str:
    """Give the page of a package."""
    face = importlib.import_module(package)
    found = {name: getattr(face, name) for name in face.__all__}
    parts = [f"# The package {package}", INTRODUCTION[package]]
    for kind in KINDS:
        names = [name for name in found if _kind(found[name]) == kind]
        if names:
            parts.append(f"## {kind}")
            parts += [_entry(name, found[name]) for name in names]
    return "\n\n".join(parts)


def _kind(it: object) -> str:
    if isinstance(it, type):
        if issubclass(it, BaseException):
            return "Errors"
        return "Choices" if issubclass(it, enum.Enum) else "Classes"
    return "Functions" if inspect.isroutine(it) else "Types"


def _entry(name: str, it: Any) -> str:
    parts = [f"### {name}"]
    if _kind(it) == "Types":
        return f"{parts[0]}\n\n```text\n{name} = {_type(it)}\n```"
    if isinstance(it, enum.EnumMeta):
        rows = [f"| `{one.name}` | `{one.value!r}` |" for one in it]  # type: ignore[var-annotated]
        return "\n\n".join(
            [
                *parts,
                _prose(it.__doc__),
                "\n".join(["| member | value |", "|---|---|", *rows]),
            ]
        )
    if isinstance(it, type) and issubclass(it, BaseException):
        base = it.__mro__[1].__name__
        return "\n\n".join([*parts, f"A `{base}`. {_prose(it.__doc__)}"])
    if isinstance(it, type):
        return "\n\n".join([*parts, *_class(name, it)])
    return "\n\n".join([*parts, _signature(name, it), _prose(it.__doc__)])


def _class(name: str, it: type) -> Iterator[str]:
    fields = fields_of(it)
    documented = it.__doc__ or ""
    if fields is None:
        yield _signature(name, it)
        yield _prose(documented)
        constructor = vars(it).get("__init__")
        if constructor is not None and constructor.__doc__:
            yield _prose(constructor.__doc__)
    else:
        told, rest = take_attributes(documented)
        yield _prose(rest)
        if fields:
            rows = [
                f"| `{one}` | `{cell(kind)}` | {default} | {cell(words or told.get(one, ''))} |"
                for one, kind, default, words in fields
            ]
            yield "\n".join(
                ["| field | type | default | |", "|---|---|---|---|", *rows]
            )
    for one, member in _members(it):
        if isinstance(member, property):
            kind = (member.fget.__annotations__ if member.fget else {}).get(
                "return", ""
            )
            yield f"#### {name}.{one}\n\n```text\n{one}: {kind}\n```"
            yield _prose(member.__doc__)
        else:
            yield f"#### {name}.{one}\n\n{_signature(one, member)}"
            yield _prose(member.__doc__)


def _members(it: type) -> Iterator[tuple[str, Any]]:
    for name, member in vars(it).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property) and member.__doc__:
            yield name, member
            continue
        plain = (
            member.__func__
            if isinstance(member, (classmethod, staticmethod))
            else member
        )
        if inspect.isfunction(plain) and plain.__doc__:
            yield name, plain


def fields_of(it: type) -> list[tuple[str, str, str, str]] | None:
    """Give name, type, default and words of the fields; None for what has none of attrs."""
    if not attrs.has(it):
        return None
    below = _words_below(it)
    kinds: dict[str, object] = {}  # as written: cattrs may have resolved `one.type`
    for one in reversed(it.__mro__):
        kinds |= vars(one).get("__annotations__", {})
    return [
        (
            one.alias,
            _type(kinds[one.name]),
            _default(one.default),
            one.metadata.get("description", "") or below.get(one.name, ""),
        )
        for one in attrs.fields(it)
        if not one.name.startswith("_") and one.init
    ]


def _words_below(it: type) -> dict[str, str]:
    """Give the strings that stand below fields."""
    found: dict[str, str] = {}
    for one in reversed(it.__mro__[:-1]):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(one))).body[0]
        except (OSError, TypeError):
            continue
        assert isinstance(tree, ast.ClassDef)
        for before, after in zip(tree.body, tree.body[1:], strict=False):
            match before, after:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found[name] = " ".join(text.split())
                case _:
                    pass
    return found


def take_attributes(text: str) -> tuple[dict[str, str], str]:
    """Take the section `Attributes` out of a docstring."""
    cleaned = inspect.cleandoc(text)
    match = re.search(r"(?:^|\n)Attributes:\n((?:[ ]{4}.*(?:\n|$)|\n)+)", cleaned)
    if match is None:
        return {}, cleaned
    return dict(_items(match[1])), cleaned.replace(match[0], "\n")


def _items(body: str) -> Iterator[tuple[str, str]]:
    for item in re.split(r"\n(?=\S)", textwrap.dedent(body).strip()):
        name, _, words = item.partition(":")
        yield name.strip(), " ".join(words.split())


def _prose(text: str | None) -> str:
    """Give a docstring as Markdown: sections as lists, examples as blocks."""
    parts: list[str] = []
    for part in re.split(r"\n{2,}", inspect.cleandoc(text or "")):
        head, _, body = part.partition("\n")
        if head.rstrip(":") in SECTIONS and head.endswith(":") and body:
            word = head.rstrip(":")
            if word in ("Returns", "Yields", "Examples", "Example"):
                parts.append(f"{word}: {' '.join(body.split())}")
                continue
            rows = [f"- `{name}`: {words}" for name, words in _items(body)]
            parts.append("\n".join([f"{word}:", "", *rows]))
        elif part.lstrip().startswith(">>>") or part.startswith("    "):
            parts.append(f"```text\n{textwrap.dedent(part)}\n```")
        elif re.match(r"[-*] ", part):
            parts.append(part)
        else:
            parts.append(" ".join(part.split()))
    return "\n\n".join(
        part.replace("<", "&lt;") if "```" not in part else part for part in parts
    )


def _signature(name: str, it: Callable[..., Any]) -> str:
    signature = inspect.signature(it)
    words = []
    kinds = [one.kind for one in signature.parameters.values()]
    for number, one in enumerate(signature.parameters.values()):
        if one.name in ("self", "cls") and number == 0:
            continue
        if (
            one.kind is one.KEYWORD_ONLY
            and one.kind not in kinds[:number]
            and one.VAR_POSITIONAL not in kinds
        ):
            words.append("*")
        star = STARS.get(one.kind, "")
        kind = "" if one.annotation is one.empty else f": {_type(one.annotation)}"
        default = (
            "" if one.default is one.empty else f" = {_default(one.default).strip('`')}"
        )
        words.append(f"{star}{one.name}{kind}{default}")
    back = (
        ""
        if signature.return_annotation is signature.empty
        else f" -> {_type(signature.return_annotation)}"
    )
    begin = (
        "async def"
        if inspect.iscoroutinefunction(it)
        else "class"
        if isinstance(it, type)
        else "def"
    )
    if isinstance(it, type):
        back = ""
    line = f"{begin} {name}({', '.join(words)}){back}"
    if len(line) > 88:
        inner = "".join(f"    {word},\n" for word in words)
        line = f"{begin} {name}(\n{inner}){back}"
    return f"```text\n{line}\n```"


def _type(it: object) -> str:
    if isinstance(it, str):
        return it.replace("config.", "")  # a value that is imported when it is needed
    return (
        it.__name__
        if isinstance(it, type)
        else str(it).replace("typing.", "").replace("collections.abc.", "")
    )


def _default(value: object) -> str:
    if value is attrs.NOTHING:
        return ""
    if isinstance(value, attrs.Factory):  # type: ignore[arg-type]
        made = value.factory  # type: ignore[attr-defined]
        return f"`{made.__name__}()`" if isinstance(made, type) else ""
    if isinstance(value, enum.Enum):
        return f"`{type(value).__name__}.{value.name}`"
    return _made_default(value)


def _made_default(value: object) -> str:
    if isinstance(value, type) or inspect.isroutine(value):
        return f"`{value.__name__}`"
    if value is os.environ:  # what is in it is the writer's own
        return "`os.environ`"
    if attrs.has(type(value)):
        return f"`{type(value).__name__}()`"
    return f"`{value!r}`" if _is_plain(value) else "`...`"


def _is_plain(value: object) -> bool:
    if isinstance(value, (tuple, list, frozenset)):
        return all(_is_plain(one) for one in value)
    return value is None or value == {} or isinstance(value, (int, float, str, bytes))


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
