"""What may stand at a place of a document: decoded, encoded and described. Pure.

A `Codec` does all three, so the loader, `dump` and the JSON Schema cannot come apart.
Decoding gives a value or raises: a `Fault`, or a group of them. On the way up each step
of the path is noted on the error, and `problems` takes the tree apart again; so all
faults of a document are found at once. No codec converts one type into another.

One file, since all of it is one value, what may stand at a place: how it is decoded,
encoded, described, and what is wrong with it.

For a value that `decode` gave, `decode(encode(value)) == value`.
"""

from __future__ import annotations

import enum
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from types import MappingProxyType
from typing import Any

import attrs
import cattrs
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError
from cattrs.gen import (
    make_dict_structure_fn_from_attrs,
    make_dict_unstructure_fn_from_attrs,
)

from canary_trio.config.policies import alias_of
from canary_trio.errors import Problem

Decode = Callable[[Any], Any]
Encode = Callable[[Any], Any]
Schema = Mapping[str, Any]


class Fault(ValueError):
    """A value that may not stand where it stands."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found, expected)
        self.found = found
        self.expected = expected


def _same(value: Any) -> Any:
    return value


@attrs.frozen
class Codec:
    """What may stand at a place.

    Attributes:
        decode: gives the value of what JSON gave; raises `Fault` or a group of faults.
        encode: gives what JSON takes.
    """

    decode: Decode
    _schema: Schema | Callable[[], Schema]
    encode: Encode = _same

    @property
    def schema(self) -> Schema:
        """Describe what is read, in JSON Schema: by who asks, since few do."""
        return self._schema() if callable(self._schema) else self._schema


# === scalars ===


def checked(ok: Callable[[Any], object], expected: str, **schema: Any) -> Codec:
    """A value that passes a check; `expected` says in words what that is."""

    def decode(value: Any) -> Any:
        if not ok(value):
            raise Fault(show(value), expected)
        return value

    return Codec(decode, {"title": expected, **schema})


def boolean() -> Codec:
    """True or false."""
    return checked(lambda v: isinstance(v, bool), "true or false", type="boolean")


def integer(low: int, high: int) -> Codec:
    """A whole number in a range."""
    return checked(
        lambda v: type(v) is int and low <= v <= high,
        f"a whole number from {low} to {high}",
        type="integer",
        minimum=low,
        maximum=high,
    )


def number(low: float, high: float, what: str = "a number") -> Codec:
    """A number in a range; a time is `seconds` of `parts.times`."""

    def decode(value: Any) -> float:
        if not is_number(value) or not low <= value <= high:
            raise Fault(show(value), f"{what} from {low:g} to {high:g}")
        return float(value)

    schema = {"type": "number", "minimum": low, "maximum": high}
    return Codec(decode, {"title": f"{what} from {low:g} to {high:g}", **schema})


def text(pattern: str, expected: str) -> Codec:
    """A string that a pattern describes from its beginning to its end.

    Args:
        pattern: in what Python's and JSON Schema's (ECMA 262) patterns share; no anchors.
        expected: in words.
    """
    return checked(
        lambda v: isinstance(v, str) and re.fullmatch(pattern, v),  # `re` keeps it
        expected,
        type="string",
        pattern=f"^(?:{pattern})$",
    )


def enumeration(kind: type[enum.Enum]) -> Codec:
    """A word of an enumeration."""
    words = [member.value for member in kind]

    def decode(value: Any) -> enum.Enum:
        if value not in words:
            hint = nearest(value, words) if isinstance(value, str) else ""
            raise Fault(show(value), f"one of {', '.join(words)}{hint}")
        return kind(value)

    return Codec(decode, {"enum": words}, lambda member: member.value)


# === what is made of others ===


def optional(codec: Codec) -> Codec:
    """A value of another codec, or null."""
    return Codec(
        lambda value: None if value is None else codec.decode(value),
        cache(lambda: any_of(codec.schema, {"type": "null"})),
        lambda value: None if value is None else codec.encode(value),
    )


def word_or(
    word: Mapping[bool | str, Any], other: Codec, expected: str | None = None
) -> Codec:
    """One of a few words, each of which stands for a value, or what another codec takes.

    Args:
        word: what each means; a value that one means is written as that word.
        other: what else may stand there.
        expected: in words, where it is neither.
    """

    def decode(value: Any) -> Any:
        if isinstance(value, bool | str) and value in word:
            return word[value]
        if expected is not None and not isinstance(value, dict):
            raise Fault(show(value), expected)
        return other.decode(value)

    def encode(value: Any) -> Any:
        for name, meant in word.items():
            if value == meant:
                return name
        return other.encode(value)

    words = {"enum": list(word)}
    return Codec(decode, cache(lambda: any_of(words, other.schema)), encode)


def list_of(codec: Codec, *, least: int = 0, most: int, of: str) -> Codec:
    """A list in the document, a tuple in the program.

    Args:
        codec: of its members.
        least: how many there must be.
        most: how many there may be.
        of: what its members are, in the plural.
    """

    def decode(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or not least <= len(value) <= most:
            found = f"{len(value)} of them" if isinstance(value, list) else show(value)
            at_least = f"at least {least} and " if least else ""
            raise Fault(found, f"a list of {at_least}at most {most} {of}")
        return tuple(each(codec.decode, enumerate(value), "[{}]"))

    size = {"minItems": least, "maxItems": most}
    return Codec(
        decode,
        cache(lambda: {"type": "array", "items": codec.schema, **size}),
        lambda members: [codec.encode(member) for member in members],
    )


def map_of(name: Codec, codec: Codec, *, most: int, expected: str) -> Codec:
    """A table whose names the user chooses."""

    def decode_item(key: str, value: Any) -> Any:
        name.decode(key)
        return codec.decode(value)

    def decode(value: Any) -> Mapping[str, Any]:
        if not isinstance(value, dict) or len(value) > most:
            found = f"{len(value)} of them" if isinstance(value, dict) else show(value)
            raise Fault(found, expected)
        values = each(
            lambda key: decode_item(key, value[key]),
            ((key, key) for key in value),
            ".{}",
        )
        return MappingProxyType(dict(zip(value, values, strict=True)))

    return Codec(
        decode,
        {
            "type": "object",
            "propertyNames": name.schema,
            "additionalProperties": codec.schema,
            "maxProperties": most,
        },
        lambda values: {key: codec.encode(value) for key, value in values.items()},
    )


def table(kind: type, /, **codecs: Codec) -> Codec:
    """A table whose fields are those of an attrs class; unknown ones are refused.

    A field whose metadata has an `alias` is called so in the document. A field that is
    not in `codecs` is not decoded, and has no description.
    """
    fields = {field.name: field for field in attrs.fields(kind)}
    # Of the fields, since those of a class are looked up with the types of all of them,
    # which every codec here knows by itself. Overrides are keywords of any name.
    make_decode: Any = partial(make_dict_structure_fn_from_attrs, [*fields.values()])
    make_encode: Any = partial(make_dict_unstructure_fn_from_attrs, [*fields.values()])
    overrides = {
        name: cattrs.override(
            rename=alias_of(field),
            struct_hook=_as_hook(codecs[name].decode),
            unstruct_hook=codecs[name].encode,
        )
        if name in codecs
        else cattrs.override(omit=True)
        for name, field in fields.items()
    }
    # Code is made for both when they are first used: most documents have few tables.
    strict = {"_cattrs_forbid_extra_keys": True, "_cattrs_detailed_validation": True}
    short = {"_cattrs_omit_if_default": True}
    decoder = cache(partial(make_decode, kind, _converter, **strict, **overrides))
    encoder = cache(partial(make_encode, kind, _converter, **short, **overrides))

    def decode(value: Any) -> Any:
        if not isinstance(value, dict):
            raise Fault(show(value), "a table")
        return decoder()(value, kind)

    def encode(value: Any) -> Any:
        return encoder()(value)

    def schema() -> Schema:
        given = [(fields[name], codec) for name, codec in codecs.items()]
        required = [alias_of(one) for one, _ in given if one.default is attrs.NOTHING]
        return {
            "type": "object",
            "properties": {
                alias_of(one): _property(one, codec) for one, codec in given
            },
            "required": required,
            "additionalProperties": False,
        }

    return Codec(decode, cache(schema), encode)


_converter = cattrs.Converter()


def _as_hook(decode: Decode) -> Callable[[Any, object], Any]:
    """Make a hook of what decodes: cattrs gives the type too, which nobody needs."""
    return lambda value, _: decode(value)


def any_of(*schemas: Schema) -> Schema:
    """Describe what fits one of these."""
    flat: list[Schema] = []
    for schema in schemas:
        flat.extend(schema["anyOf"] if set(schema) == {"anyOf"} else [schema])
    return {"anyOf": flat}


def _property(field: attrs.Attribute[Any], codec: Codec) -> Schema:
    schema: dict[str, Any] = {"description": field.metadata["description"]}
    schema.update(codec.schema)
    if field.default is not attrs.NOTHING and "lacks" not in field.metadata:
        default: Any = field.default
        value = default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]
        schema["default"] = codec.encode(value)
    return schema


def each(decode: Decode, items: Any, step: str) -> list[Any]:
    """Decode the members of something; tell the faults of all, each with its place."""
    values = []
    faults: list[Exception] = []
    for place, given in items:
        try:
            values.append(decode(given))
        except Exception as exc:
            faults.append(note_step(exc, step.format(place)))
    if faults:
        raise ExceptionGroup("members", faults)
    return values


# === faults ===

_AT = "at "


def note_step(exc: Exception, step: str) -> Exception:
    """Note a step of the path on an error."""
    exc.add_note(_AT + step)
    return exc


def problems(exc: BaseException, path: str = "$") -> Iterator[Problem]:
    """Take a tree of errors apart into faults with their paths."""
    for note in reversed(getattr(exc, "__notes__", ())):
        if isinstance(note, str) and note.startswith(_AT):
            path += note.removeprefix(_AT)
    if isinstance(exc, BaseExceptionGroup):
        kind = exc.cl if isinstance(exc, ClassValidationError) else None
        for inner in exc.exceptions:
            yield from problems(inner, path + _field_step(kind, inner))
    elif isinstance(exc, ForbiddenExtraKeysError):
        yield from _unknown_fields(exc, path)
    elif isinstance(exc, Fault):
        yield Problem(path, exc.found, exc.expected)
    elif isinstance(exc, KeyError):
        yield Problem(path, "nothing", "a value: this field is required")
    else:
        yield Problem(path, str(exc), "what the schema says")


def _unknown_fields(exc: ForbiddenExtraKeysError, path: str) -> Iterator[Problem]:
    known = [
        alias_of(field)
        for field in attrs.fields(exc.cl)
        if "description" in field.metadata
    ]
    for name in sorted(exc.extra_fields):
        expected = f"one of {', '.join(known)}{nearest(name, known)}"
        yield Problem(f"{path}.{name}", "an unknown field", expected)


def _field_step(kind: Any, exc: BaseException) -> str:
    if kind is None:
        return ""
    for note in getattr(exc, "__notes__", ()):
        if isinstance(note, cattrs.AttributeValidationNote):
            return f".{alias_of(attrs.fields_dict(kind)[note.name])}"
    return ""


def show(value: object) -> str:
    """Show a bad value, cut where it is long."""
    words = json.dumps(value, ensure_ascii=False, default=str)
    return words if len(words) <= 60 else words[:57] + "..."


def is_number(value: object) -> bool:
    """Whether it is a finite number; true and false are none."""
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def nearest(name: str, known: Sequence[str]) -> str:
    """Give a hint if a name is almost a known one."""
    import difflib  # noqa: PLC0415  # most names are known

    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
