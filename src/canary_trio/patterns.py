"""Patterns of rules, in time linear in the length of what they are tried on. Pure.

RE2 (R. Cox, "Regular Expression Matching in the Wild", 2010) never goes back, so no
pattern can stall the proxy; it has no look-around and no back-references. A pattern
is searched for, as ingress-nginx does it: `^` and `$` tie it to the ends. It is tried
on the bytes as sent, read as UTF-8; its memory is bounded.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import re2

PATTERN_SIZE = 1000
"""Characters of a pattern at most."""

PATTERN_MEMORY = 1 << 20
"""Bytes that one compiled pattern may use."""


class BadPattern(ValueError):
    """RE2 does not take a pattern; the message says why."""


@functools.lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> Callable[[bytes], object]:
    """Give what searches for a pattern: something true where it is found.

    Raises:
        BadPattern: it is not one of RE2's, or it needs too much memory.
    """
    options = re2.Options()
    options.max_mem = PATTERN_MEMORY
    options.log_errors = False
    options.never_capture = True
    try:
        search: Callable[[bytes], object] = re2.compile(pattern, options).search
    except (re2.error, UnicodeEncodeError) as exc:
        reason = exc.args[0] if isinstance(exc, re2.error) else exc
        told = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise BadPattern(told) from exc
    return search
