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

    listing_entries: int = 250_000
    """Keys, revisions or sessions that one response lists; 413 beyond."""

    listing_bytes: int = 64 * 1024 * 1024
    """Of one such response, about; 413 beyond."""

    listings: int = 128
    """Large ones that are sent at a time, half of them to one client; others wait."""

    backups: int = 2
    """Copies of the database that are made and sent at a time; 429 beyond."""

    transaction_entries: int = 16_384
    """Entries that one transaction reads; 413 beyond."""

    changed_keys: int = 16_384
    """Keys that one request deletes; 413 beyond, and none is deleted."""

    watchers_per_client: int = 8192
    """Blocking queries and event streams of one client's address; 429 beyond."""

    watched_keys: int = 16_384
    """Keys that one `POST /v1/watch` names; 413 beyond."""

    watched_keys_in_all: int = 1_000_000
    """Keys that all of them wait for, where those that are alike count once; 429 beyond."""

    bodies_bytes: int = 128 * 1024 * 1024
    """Of request bodies on their way, a quarter of it from one client; 503 and 429."""

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
