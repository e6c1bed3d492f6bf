"""Who asks the console: the guard before it in an ASGI server, and logging in and out.

On an admin listener its guard has let a request pass already, and says who it is; mounted
elsewhere, the same guard is asked here. Either way each write looks again whether who asks
may write: a door that somebody leaves open is not the only one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from importlib import metadata
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from canary_trio.admin.asking.guard import (
    NOBODY,
    OWN_FIELD,
    AdminAccess,
    AdminRequest,
    Door,
)
from canary_trio.admin.asking.sessions import SESSION_S, grant_of
from canary_trio.admin.asking.tokens import AdminRole, Caller
from canary_trio.console.api.answers import JsonAnswer, MayNot
from canary_trio.console.api.bodies import BadBody, read_table
from canary_trio.errors import Problem

ASKED = "canary.asked"
"""In the scope of a request: what of it says who asks, as the guard has read it."""

_SECRET = 1024  # characters of a token or a login at most

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class AsgiGuard:
    """The guard of the admin listener before the application, in any ASGI server."""

    def __init__(self, app: Any, door: Door) -> None:
        self._app = app
        self._door = door

    def __repr__(self) -> str:
        return f"<AsgiGuard {self._door}>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = asked_of(scope)
        refusal = self._door.refusal(asked)
        if refusal is None:
            await self._app({**scope, ASKED: asked}, receive, send)
            return
        fields = {name.decode(): value.decode() for name, value in refusal.headers}
        kind = (refusal.content_type or b"text/plain").decode()
        answer = Response(refusal.body, refusal.status, fields, kind)
        await answer(scope, receive, send)


def asked_of(scope: Mapping[str, Any]) -> AdminRequest:
    """Read of a scope who asks, and for what; a path that it is mounted below is left out."""
    fields: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        fields.setdefault(name.lower(), []).append(value)

    def first(name: bytes) -> bytes | None:
        return fields.get(name, [None])[0]

    client = scope.get("client")
    path = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape")
    path = path.removeprefix(scope.get("root_path", "").encode())
    return AdminRequest(
        scope["method"],
        path.partition(b"?")[0],
        "" if client is None else str(client[0]),
        scope.get("scheme") == "https",
        first(b"host"),
        first(b"sec-fetch-site"),
        first(b"origin"),
        first(b"authorization"),
        first(OWN_FIELD),
        fields.get(b"cookie", []),
    )


class Callers:
    """Who asks, and the pages where that changes."""

    def __init__(self, access: AdminAccess, service: str) -> None:
        """Ask what the access grants; the service is told to who asks who they are."""
        self._access = access
        self._service = service
        self._version = metadata.version("canary-trio")

    def __repr__(self) -> str:
        return f"<Callers {self._access.sessions}>"

    def of(self, request: Request) -> Caller:
        """Give who asks; a token that is not known is nobody's."""
        return self._access.caller_of(request.scope[ASKED]) or NOBODY

    def may_read(self, scope: Mapping[str, Any]) -> bool:
        """Tell whether who asked may read now: a stream lasts, and a session may not."""
        caller = self._access.caller_of(scope[ASKED]) or NOBODY
        return caller.role >= AdminRole.READ

    def who(self, request: Request) -> str:
        """Name who asks for what is counted by caller: by address where there is no name."""
        caller = self.of(request)
        return caller.name or f"@{request.scope[ASKED].client}"

    def writer(self, request: Request) -> Caller:
        """Give who asks, if they may write.

        Raises:
            MayNot: they may not.
        """
        caller = self.of(request)
        if caller.role < AdminRole.WRITE:
            raise MayNot(
                "this needs a token with the role write; see --admin-token-file in"
                " docs/admin.md"
            )
        return caller

    async def show(self, request: Request) -> Response:
        """Say who asks."""
        return JsonAnswer(self._shown(self.of(request), request))

    async def log_in(self, request: Request) -> Response:
        """Begin a session by a token or a one-time login."""
        table, sessions = await read_table(request), self._access.sessions
        token = table.text("token", most=_SECRET)
        login = table.text("login", most=_SECRET)
        table.done()
        if bool(token) == bool(login):
            found = "both" if token else "neither of them"
            raise BadBody([Problem("$", found, "either token or login, with a secret")])
        client = request.scope[ASKED].client
        if sessions.is_tired(client):
            words = "too many logins have failed of late; try again in some seconds"
            return JsonAnswer({"error": words}, 429, {"Retry-After": "10"})
        grant = sessions.redeem(login)
        if token:
            grant = grant_of(token.encode("utf-8", "replace"))
        caller = None if grant is None else grant.caller(self._access.roles.roles)
        if caller is None and token:  # a page has one field for both
            grant = sessions.redeem(token)
            caller = None if grant is None else grant.caller(self._access.roles.roles)
        if grant is None or caller is None:
            sessions.failed(client)
            what = "token is not known" if token else "login is not known, or over"
            raise MayNot(f"this {what}; `canary console` makes one")
        secret, until = sessions.begin(grant)
        answer = JsonAnswer(self._shown(caller, request, until))
        self._set_cookie(answer, request, secret, SESSION_S)
        return answer

    async def log_out(self, request: Request) -> Response:
        """End the session."""
        asked: AdminRequest = request.scope[ASKED]
        if asked.session is not None:
            self._access.sessions.end(asked.session)
        answer = JsonAnswer(self._shown(self.of(request), request))
        self._set_cookie(answer, request, "", 0)
        return answer

    async def new_login(self, request: Request) -> Response:
        """Make a login that holds once, worth what who asks is worth."""
        grant = self._access.grant_of(request.scope[ASKED])
        if grant is None:
            raise MayNot("a login is made for whoever shows a token or a certificate")
        login, until = self._access.sessions.new_login(grant)
        return JsonAnswer({"login": login, "until": until}, 201)

    def _shown(
        self, caller: Caller, request: Request, until: float | None = None
    ) -> dict[str, Any]:
        roles = {AdminRole.READ: "read", AdminRole.WRITE: "write"}
        asked: AdminRequest = request.scope[ASKED]
        if until is None and caller.by == "session" and asked.session is not None:
            found = self._access.sessions.find(asked.session, self._access.roles.roles)
            until = None if found is None else found[1].until
        return {
            "name": caller.name,
            "role": roles.get(caller.role),
            "by": caller.by,
            "until": until,
            "service": self._service,
            "version": self._version,
        }

    def _set_cookie(
        self, answer: Response, request: Request, secret: str, for_s: float
    ) -> None:
        asked: AdminRequest = request.scope[ASKED]
        answer.set_cookie(
            asked.cookie_name.decode(),
            secret,
            max_age=int(for_s),
            path="/",
            secure=asked.secure,
            httponly=True,
            samesite="strict",
        )
