"""What one request, and one client, may make the store do, named, with defaults.

The rule that it obeys: whatever grows with what a client sends or stored has a limit
here, and beyond it a clear refusal: what was found, the limit, and what to do. A listing
within the limits is made in pieces, so that others are served meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

_DIGITS = 18  # of a limit that is given


@attrs.frozen(kw_only=True)
class StoreLimits:
    """The limits of one store. Sizes are in bytes."""

    sessions: int = 50_000
    """Sessions at a time; a new one beyond them gets a 429."""


def parse_limits(given: Iterable[str]) -> StoreLimits:
    """Read limits that were given as `NAME=NUMBER`; the others have their defaults.

    >>> parse_limits(["sessions=10"]).sessions
    10

    Raises:
        ValueError: there is no such limit, or it is no number from 1 on.
    """
    names = [field.name for field in attrs.fields(StoreLimits)]
    found: dict[str, int] = {}
    for text in given:
        name, _, number = text.partition("=")
        if name not in names:
            raise ValueError(f"{name!r} is no limit; there are {', '.join(names)}")
        if not (number.isascii() and number.isdigit() and len(number) <= _DIGITS):
            raise ValueError(f"{name}={number[:_DIGITS]}: expected a whole number")
        found[name] = int(number)
        if not found[name]:
            raise ValueError(f"{name}=0: expected 1 or more")
    return StoreLimits(**found)
