"""What becomes of a request once it is known who asks. Pure."""

from __future__ import annotations

import enum
from collections.abc import Callable

import attrs

from canary_trio.routing.access.gate import RefusalKind
from http_trio.http1.response import Response


class AuthOutcome(enum.StrEnum):
    """What a check came to: in metrics."""

    GRANTED = "granted"
    DENIED = "denied"
    FAILED = "failed"
    """Nobody could say, so it was refused."""

    LET_BY = "let_by"
    """Nobody could say, and it passed, as the document asks for."""


@attrs.frozen
class Granted:
    """It may pass.

    Attributes:
        lines: fields for its server, each led by CRLF.
        cookies: fields for the client, each led by CRLF.
        user: who asks, for the log; empty where that is not known.
        outcome: how it is counted.
        is_personal: whether it is for nobody else, however alike.
    """

    lines: bytes = b""
    cookies: bytes = b""
    user: bytes = b""
    outcome: AuthOutcome = AuthOutcome.GRANTED
    is_personal: bool = False


@attrs.frozen
class Denied:
    """It may not pass.

    Attributes:
        kind: why.
        response: what the client gets.
        outcome: how it is counted.
        is_personal: whether it is for nobody else, however alike.
    """

    kind: RefusalKind
    response: Response
    outcome: AuthOutcome = AuthOutcome.DENIED
    is_personal: bool = False


Verdict = Granted | Denied
Tell = Callable[[Verdict], None]
"""Is told a verdict, once."""
