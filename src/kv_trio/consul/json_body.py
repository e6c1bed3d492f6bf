"""The JSON of a body, of ours or of theirs: the one door to a value. Pure.

The rule that it obeys: what comes through can be written again, on disk and in a
response. So numbers are finite, and no text has half a character (a lone surrogate,
which JSON can write and UTF-8 cannot). All else is a `ValueError` with words.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # an escape that may be half a character
_MARKS = (b",", b"[", b"{")  # each begins a value, or a member
_STRING_OR_MARK = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[,\[{]', re.DOTALL)
_DIGITS = 400  # of a number; the largest finite one has 309 before its point


def parse_json(body: bytes) -> Any:
    """Read a body.

    Raises:
        ValueError: it is no JSON, or says what cannot be written again.
    """
    try:
        text = body.decode()
        document = json.loads(
            text, parse_float=_finite, parse_int=_integer, parse_constant=_no_constant
        )
        if _HALF.search(text):
            _check_texts(document)
    except json.JSONDecodeError as exc:
        is_cut = exc.pos >= len(exc.doc.rstrip())
        raise ValueError("unexpected EOF" if is_cut else exc.msg) from exc
    except UnicodeDecodeError as exc:
        raise ValueError(f"byte {exc.start} is no UTF-8") from exc
    except RecursionError as exc:
        raise ValueError("it is nested too deep") from exc
    return document


def has_more_values(body: bytes, limit: int) -> bool:
    """Tell whether a body has more values than a limit, without parsing it.

    For bodies of strangers: small values by the ten thousand take long to be parsed.

    >>> has_more_values(b'["a,b,c", {}]', 3), has_more_values(b"[1,2,3,4]", 3)
    (False, True)
    """
    if sum(map(body.count, _MARKS)) <= limit:
        return False
    count = 0
    for number, found in enumerate(_STRING_OR_MARK.finditer(body)):
        count += found[0][:1] != b'"'
        if count > limit or number > 4 * limit:
            return True
    return False


def kind_of(value: object) -> str:
    """Give the kind of a JSON value in Go's words."""
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _integer(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"a number of {len(text)} digits is too large")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:_DIGITS]} is too large")
    return number


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _check_texts(document: object) -> None:
    """Check that each text can be written; without recursion, for it may be deep."""
    values = [document]
    while values:
        match values.pop():
            case str(text):
                _check_text(text)
            case list(items):
                values += items
            case dict(members):
                values += members.keys()
                values += members.values()


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        half = f"\\u{ord(text[exc.start]):04x}"
        raise ValueError(f"{half} is half a character, a lone surrogate") from exc
