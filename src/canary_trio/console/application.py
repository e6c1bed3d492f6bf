"""The console as an ASGI application: the page, its data, and writes, behind one guard.

A proxy has it on its admin listener (`HostedApp`); `app` gives the same for any ASGI server on
trio. What a path is for is said once, in `openapi.json`; here it is led to what answers it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from canary_trio.admin.asking.client import NOTHING, AdminCredentials
from canary_trio.admin.asking.guard import AdminAccess, Door
from canary_trio.admin.asking.tokens import RoleFile
from canary_trio.console import contract
from canary_trio.console.api.answers import HANDLERS, NO_STORE
from canary_trio.console.api.callers import ASKED, AsgiGuard, Callers
from canary_trio.console.api.reading import Reading
from canary_trio.console.api.streaming import Streaming
from canary_trio.console.api.writing import Writing
from canary_trio.console.live.collecting import Sources
from canary_trio.console.live.desk import Desk
from canary_trio.console.live.near import Nobody
from canary_trio.console.page_files import PageFiles
from canary_trio.control.sources.opening import open_source
from canary_trio.control.sources.source import DocumentSource
from http_trio import Application

_SERVICE = "/api/v1/services/{service}"

Page = Callable[[Request], Awaitable[Response]]


def app(
    source: str | DocumentSource,
    *,
    token: str | None = None,
    roles: str | os.PathLike[str] | None = None,
    is_open: bool = False,
    hosts: Iterable[str] = (),
    credentials: AdminCredentials = NOTHING,
) -> Application:
    """Make the console of a store as an ASGI 3 application, for a server on trio.

    It stands alone: no proxy is needed. The server must support `lifespan`, as hypercorn does:

        await hypercorn.trio.serve(app("http://127.0.0.1:8500", roles="admin.toml"), config)

    Args:
        source: the store, by its URL or as it is; it is opened and closed with the
            application.
        token: the secret of the store's token, where the source is a URL.
        roles: the file of who may do what, see `canary admin-token`; it is read again when
            it changes. Without one this machine may read, and nobody may write.
        is_open: whether whoever reaches it may read.
        hosts: names with dots by which it is asked.
        credentials: what the admin listeners of proxies are shown.

    Raises:
        BadSource: the URL names no source.
        BadToken: the file of roles cannot be used.
    """
    store = open_source(source, token=token) if isinstance(source, str) else source
    file = RoleFile(roles)
    access = AdminAccess(file, is_open)
    desk = Desk(Sources(store, Nobody(), credentials))
    inner = console_app(desk, access, beside=file.run)
    return AsgiGuard(inner, Door(hosts, access))


def console_app(
    desk: Desk,
    access: AdminAccess,
    *,
    beside: Callable[[], Awaitable[None]] | None = None,
) -> Starlette:
    """Make the application that stands behind a guard.

    Args:
        desk: that pages look at.
        access: who may do what.
        beside: runs as long as the application does.
    """

    @asynccontextmanager
    async def live(_: Starlette) -> AsyncIterator[None]:
        async with desk.open(beside):
            yield

    callers = Callers(access, desk.sources.near.service)
    files, reading = PageFiles(), Reading(desk)
    writing = Writing(desk, callers)
    pages: list[tuple[str, str, Any]] = [
        ("GET", "/", files.to_page),
        ("GET", "/console", files.to_page),
        ("GET", "/console/", files.show),
        ("GET", "/console/{name:path}", files.show),
        ("GET", "/api/v1/openapi.json", _contract),
        ("GET", "/api/v1/session", callers.show),
        ("POST", "/api/v1/session", callers.log_in),
        ("DELETE", "/api/v1/session", callers.log_out),
        ("POST", "/api/v1/logins", callers.new_login),
        ("GET", "/api/v1/services", reading.services),
        ("GET", "/api/v1/stream", Streaming(desk, callers).begin),
        ("GET", _SERVICE, reading.view),
        ("GET", f"{_SERVICE}/history", reading.history),
        ("GET", f"{_SERVICE}/history/{{revision}}", reading.revision),
        ("GET", f"{_SERVICE}/diff", reading.diff),
        ("POST", f"{_SERVICE}/preview", reading.preview),
        ("POST", f"{_SERVICE}/explain", reading.explain),
        ("POST", f"{_SERVICE}/rehearse", reading.rehearse),
        ("PATCH", f"{_SERVICE}/document", writing.patch),
        ("PUT", f"{_SERVICE}/document", writing.put),
        ("POST", f"{_SERVICE}/rollback", writing.roll_back),
        ("POST", f"{_SERVICE}/rollout/{{action}}", writing.tell_rollout),
        ("POST", f"{_SERVICE}/servers/mode", writing.set_mode),
        ("POST", f"{_SERVICE}/confirm", writing.confirm),
        ("POST", f"{_SERVICE}/revert", writing.revert),
        ("POST", f"{_SERVICE}/freeze", writing.freeze),
    ]
    return Starlette(routes=_routes(pages), exception_handlers=HANDLERS, lifespan=live)


def _routes(pages: Iterable[tuple[str, str, Page]]) -> list[Route]:
    """Give a route for each path, with the methods that it has."""
    by_path: dict[str, dict[str, Page]] = {}
    for method, path, page in pages:
        by_path.setdefault(path, {})[method] = page
    return [
        Route(path, _by_method(methods), methods=list(methods))
        for path, methods in by_path.items()
    ]


def _by_method(methods: dict[str, Page]) -> Page:
    async def answer(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await methods[method](request)

    return answer


async def _contract(_: Request) -> Response:
    text = await trio.Path(contract.PATH).read_bytes()
    return Response(text, 200, NO_STORE, "application/json")


__all__ = ["ASKED", "app", "console_app"]
