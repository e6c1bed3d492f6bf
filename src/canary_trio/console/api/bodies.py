"""What is sent to the API becomes values here: JSON, of the right types, and nothing else.

All faults of a body are said, not the first, each with what was found, what was expected and
where. What a field means is for whoever asks for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import attrs
from starlette.requests import ClientDisconnect, Request

from canary_trio.config.document import parse
from canary_trio.errors import CanaryError, InvalidConfig, Problem

BODY_BYTES = 2 * 1024 * 1024
"""Of a body at most: a document with all its quotes escaped has room."""

_REVISION = re.compile(r'"(0|[1-9][0-9]{0,17})"\Z')
_SHOWN = 40


class BadBody(CanaryError):
    """What was sent cannot be read, or is of wrong types. The sender's fault.

    Attributes:
        problems: all of its faults.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


class NotJson(CanaryError):
    """A body is of another content type than JSON. The sender's fault."""


class BodyTooLarge(CanaryError):
    """A body has more than `BODY_BYTES`. The sender's fault."""


class NoMatchGiven(CanaryError):
    """A write does not say of which revision it was made. The sender's fault."""


async def read_table(request: Request) -> BodyTable:
    """Give the body of a request.

    Raises:
        NotJson, BodyTooLarge, BadBody: it is no JSON object.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise NotJson(
            f"found the content type {shown(kind)}, expected application/json"
        )
    data = bytearray()
    try:
        async for part in request.stream():
            data += part
            if len(data) > BODY_BYTES:
                raise BodyTooLarge(f"found a body beyond {BODY_BYTES} bytes")
    except ClientDisconnect as exc:
        raise BodyTooLarge("the body ended before its end") from exc
    try:
        return BodyTable(parse(bytes(data), most=BODY_BYTES))
    except InvalidConfig as exc:
        raise BadBody(exc.problems) from exc


def revision_of(request: Request) -> int:
    """Give the revision that a write is made of.

    Raises:
        NoMatchGiven: it does not say.
        BadBody: what it says is no revision.
    """
    given = request.headers.getlist("if-match")
    if not given:
        raise NoMatchGiven(
            'a write says of which revision it was made: If-Match: "812", or "0" where'
            " there is none"
        )
    match = _REVISION.match(given[0].strip()) if len(given) == 1 else None
    if match is None:
        raise BadBody(
            [Problem("If-Match", shown(given[0]), 'a revision such as "812"')]
        )
    return int(match[1])


@attrs.define(eq=False)
class BodyTable:
    """An object of a body, whose fields are taken one by one, and then it is `done`."""

    given: dict[str, Any]
    _problems: list[Problem] = attrs.field(factory=list)
    _known: list[str] = attrs.field(factory=list)

    def done(self) -> None:
        """Look whether all that was given was taken, and is well.

        Raises:
            BadBody: with all of its faults.
        """
        for name in self.given:
            if name not in self._known:
                expected = f"one of {', '.join(self._known)}"
                self.fault(name, "an unknown field", expected)
        if self._problems:
            raise BadBody(self._problems)

    def fault(self, name: str, found: str, expected: str) -> None:
        """Note a fault."""
        path = "$" if not name else f"$.{name[:_SHOWN]}"
        self._problems.append(Problem(path, found, expected))

    def text(self, name: str, default: str | None = "", *, most: int = 1 << 20) -> str:
        """Take a text; None as the default says that it must be there."""
        value = self._take(name, default)
        if not isinstance(value, str) or len(value) > most:
            self.fault(name, shown(value), f"a text of at most {most} characters")
            return ""
        return value

    def texts(self, name: str, *, most: int, longest: int = 65536) -> list[str]:
        """Take a list of texts; what is not there is empty."""
        value = self._take(name, [])
        if not isinstance(value, list) or len(value) > most:
            self.fault(name, shown(value), f"a list of at most {most} texts")
            return []
        for at, one in enumerate(value):
            if not isinstance(one, str) or len(one) > longest:
                expected = f"a text of at most {longest} characters"
                self.fault(f"{name}[{at}]", shown(one), expected)
                return []
        return value

    def flag(self, name: str, *, default: bool | None = False) -> bool:
        """Take true or false."""
        value = self._take(name, default)
        if not isinstance(value, bool):
            self.fault(name, shown(value), "true or false")
            return False
        return value

    def number(self, name: str, low: float, high: float) -> float | None:
        """Take a number of a range; None for null, and where it is not there."""
        value = self._take(name, ...)
        if value is ... or value is None:
            return None
        is_number = type(value) in (int, float) and math.isfinite(value)
        if not is_number or not low <= value <= high:
            self.fault(
                name, shown(value), f"a number from {low:g} to {high:g}, or null"
            )
            return None
        return float(value)

    def count(self, name: str, low: int, default: int | None) -> int:
        """Take a whole number; None as the default says that it must be there."""
        value = self._take(name, default)
        if type(value) is float and value.is_integer():
            value = int(value)  # JSON has one kind of numbers
        if type(value) is not int or not low <= value < 2**63:
            self.fault(name, shown(value), f"a whole number from {low} on")
            return low
        return value

    def table(self, name: str) -> dict[str, Any] | None:
        """Take an object; None where it is not there."""
        value = self._take(name, ...)
        if value is ...:
            return None
        if not isinstance(value, dict):
            self.fault(name, shown(value), "an object")
            return None
        return value

    def has(self, name: str) -> bool:
        """Tell whether a field is there."""
        return name in self.given

    def _take(self, name: str, default: Any) -> Any:
        self._known.append(name)
        return self.given.get(name, default)


def shown(value: object) -> str:
    """Show what was found, cut where it is long.

    >>> shown("x" * 50), shown(None)
    ('"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx..."', 'nothing')
    """
    if value is None or value is ...:
        return "nothing"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = value if isinstance(value, str) else repr(value)
    cut = text if len(text) <= _SHOWN else text[: _SHOWN - 5] + "..."
    return f'"{cut}"' if isinstance(value, str) else cut
