"""What the API answers: JSON, and each kind of error with its one status.

An error of ours says whose fault it is by its status, and in words what was found, what was
expected and what to do. What nobody foresaw is logged, and answered 500 without a word of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import trio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from canary_trio.console.api.bodies import BadBody, BodyTooLarge, NoMatchGiven, NotJson
from canary_trio.console.live.desk import TooManyLooks
from canary_trio.control.sources.source import SourceCannot
from canary_trio.control.store_keys import BadName
from canary_trio.errors import (
    BadAssignment,
    BadNote,
    CannotConfirm,
    InvalidConfig,
    NoDocument,
    NoRevision,
    NothingPending,
    NothingToUndo,
    RolloutRefused,
    TooLargeTogether,
    WrittenMeanwhile,
    printable,
)
from canary_trio.routing.request.request_spec import BadRequestSpec
from kv_trio import KvError

NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""Of all that is data."""

STORE_S = 5.0
"""How long the store has for one request here, in seconds."""


class MayNot(Exception):
    """Who asks may not do that."""


class NotThere(Exception):
    """What is asked for is not there."""


class StoreSlow(Exception):
    """The store did not respond in time."""


STATUSES: dict[type[Exception], int] = {
    BadBody: 400,
    BadNote: 400,
    BadRequestSpec: 400,
    MayNot: 401,
    NotThere: 404,
    NoDocument: 404,
    NoRevision: 404,
    BadName: 404,
    SourceCannot: 409,
    RolloutRefused: 409,
    NothingPending: 409,
    NothingToUndo: 409,
    CannotConfirm: 409,
    TooLargeTogether: 409,
    WrittenMeanwhile: 412,
    BodyTooLarge: 413,
    NotJson: 415,
    InvalidConfig: 422,
    BadAssignment: 422,
    NoMatchGiven: 428,
    TooManyLooks: 429,
    KvError: 503,
    StoreSlow: 503,
    trio.TooSlowError: 503,
}
"""By the kind of an error, what is answered; of two the nearer one counts."""


class JsonAnswer(Response):
    """A table as JSON."""

    media_type = "application/json"

    def __init__(
        self, table: Any, status: int = 200, fields: dict[str, str] | None = None
    ) -> None:
        """Write it."""
        super().__init__(table, status, {**NO_STORE, **(fields or {})})

    def render(self, content: Any) -> bytes:
        """Give it as JSON that each reader takes; what is rendered already, as it is."""
        if isinstance(content, bytes):
            return content
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")


def answer_error(_: Request, exc: Exception) -> JsonAnswer:
    """Answer an error of `STATUSES`, or one of the framework."""
    if isinstance(exc, HTTPException):
        words = str(exc.detail)
        return JsonAnswer({"error": words}, exc.status_code, dict(exc.headers or {}))
    status = next(STATUSES[kind] for kind in type(exc).__mro__ if kind in STATUSES)
    words = printable(str(exc)) or f"the store did not respond within {STORE_S:g} s"
    table: dict[str, Any] = {"error": words}
    fields = {}
    if isinstance(exc, WrittenMeanwhile):
        table |= {
            "revision": exc.revision,
            "who": printable(exc.who),
            "changes": [printable(one) for one in exc.summary],
        }
    elif isinstance(exc, InvalidConfig | BadBody | BadRequestSpec):
        table["problems"] = [attrs.asdict(one) for one in exc.problems]
    if status == 401:
        fields["WWW-Authenticate"] = 'Bearer realm="canary admin"'
    elif status == 429:
        fields["Retry-After"] = "5"
    return JsonAnswer(table, status, fields)


HANDLERS: dict[Any, Callable[[Request, Exception], Response]] = {
    HTTPException: answer_error,
    **dict.fromkeys(STATUSES, answer_error),
}
"""As the framework takes them."""
