"""Who asks, before a request goes on: with a proxy, its servers, and one that is asked."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from canary_trio.config.document import load
from canary_trio.errors import InvalidConfig
from canary_trio.proxy.auth.password_lists import PasswordLists
from canary_trio.proxy.handler import ProxyHandler
from canary_trio.proxy.runtime import Runtime
from canary_trio.telemetry.access_log import AccessLog
from canary_trio.telemetry.access_log_format import LineForm
from canary_trio.telemetry.observer import Observer
from canary_trio.testing import (
    Proxied,
    arm,
    hangs_up,
    proxied,
    says_canary,
    says_stable,
    url_of,
)
from http_trio import Exchange, Response, Tls, serve
from http_trio.testing.peers import (
    FakeUpstream,
    ReceivedRequest,
    connected,
    fake_upstream,
)
from tests.canary_trio.proxy.auth.test_basic_auth import said
from tests.canary_trio.proxy.auth.test_forward_auth import (
    Held,
    answering,
    let_pass,
    wait_until,
)
from tests.http_trio.proxy.test_hooks import nobody
from tests.http_trio.support.certificates import Authority
from tests.http_trio.support.http2_peer import Http2Client, port_of

CHUNKED = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n%b\r\n"
SMALL = "$scrypt$ln=1,r=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$"


class Ends:
    """A server behind a proxy, and one that it asks."""

    def __init__(self, server: FakeUpstream, auth: FakeUpstream) -> None:
        self.server = server
        self.auth = auth

    def rows(self, at: int = -1) -> list[bytes]:
        """Give the fields as the server got them."""
        return self.server.asked[at].head.split(b"\r\n")[1:]


@contextlib.asynccontextmanager
async def asked_first(
    answer: Any = let_pass, serves: Any = says_stable, **rules: Any
) -> AsyncIterator[tuple[Proxied, Ends]]:
    async with fake_upstream(serves) as server, fake_upstream(answer) as auth:
        access = {
            "forward_auth": {
                "url": url_of(auth) + "/verify",
                "copy_headers": ["Remote-User", "Remote-Groups"],
                **rules,
            }
        }
        arms = {"stable": arm(server)}
        async with proxied(arms, ratio=0, access=access) as proxy:
            yield proxy, Ends(server, auth)


def outcomes(proxy: Proxied, check: str = "forward_auth") -> dict[str, int]:
    return proxy.runtime.observer.counters.of_check(check).outcomes


async def test_a_server_gets_what_was_granted_and_nothing_that_was_forged() -> None:
    async with asked_first() as (proxy, ends), connected(proxy.server) as client:
        head, body = await client.ask(
            b"/a", b"Remote-User: root", b"remote_groups: wheel", b"X-A: b"
        )

    rows = ends.rows()
    assert (head[:12], body) == (b"HTTP/1.1 200", b"stable")
    assert b"Remote-User: ann" in rows
    assert b"Remote-Groups: a, b" in rows
    assert b"X-A: b" in rows
    assert not [row for row in rows if b"root" in row or b"wheel" in row]
    assert ends.auth.asked[0].path == b"/verify"


async def test_a_request_id_that_was_granted_is_its_only_one() -> None:
    answer = answering(b"200 OK", b"X-Request-Id: of-auth")
    async with asked_first(answer, copy_headers=["X-Request-Id"]) as (proxy, ends):
        async with connected(proxy.server) as client:
            await client.ask()

    ids = [row for row in ends.rows() if row.lower().startswith(b"x-request-id:")]
    assert ids == [b"X-Request-Id: of-auth"]


async def test_a_server_that_is_tried_next_gets_it_too() -> None:
    async with fake_upstream(hangs_up) as broken, asked_first() as (proxy, ends):
        access = {
            "forward_auth": {"url": url_of(ends.auth), "copy_headers": ["Remote-User"]}
        }
        arms = {"stable": arm(ends.server), "canary": arm(broken)}
        await proxy.install({"ratio": 1, "arms": arms, "access": access})
        async with connected(proxy.server) as client:
            assert (await client.ask())[1] == b"stable"

        assert len(ends.auth.asked) == 1
        assert b"Remote-User: ann" in ends.rows()


async def test_who_may_not_pass_gets_what_was_said_and_takes_nothing() -> None:
    answer = answering(
        b"302 Found", b"Location: https://login/", b"Set-Cookie: s=1", body=b"to login"
    )
    async with asked_first(answer) as (proxy, ends):
        async with connected(proxy.server) as client:
            await client.ask()
            head, body = await client.ask()
            head_only, _ = await client.ask(method=b"HEAD")

        assert head.startswith(b"HTTP/1.1 302 Found\r\n")
        assert b"\r\nLocation: https://login/\r\nSet-Cookie: s=1" in head
        assert body == b"to login"
        assert b"Content-Length: 8" in head_only
        assert not ends.server.asked
        assert proxy.counts("stable")[0] == 0
        assert dict(proxy.runtime.observer.counters.refusals) == {"auth_denied": 3}
        assert outcomes(proxy) == {"denied": 3}


async def test_rules_and_keys_see_what_was_granted_and_nothing_forged() -> None:
    async def by_cookie(asked: ReceivedRequest) -> None:
        group = b"beta" if b"Cookie: s=beta" in asked.head else b"others"
        await asked.response(b"", b"Remote-Groups: " + group)

    async with asked_first(by_cookie) as (proxy, ends):
        async with fake_upstream(says_canary) as canary:
            forward = {"url": url_of(ends.auth), "copy_headers": ["Remote-Groups"]}
            rule = {"header": "Remote-Groups", "equals": "beta", "arm": "canary"}
            arms = {"stable": arm(ends.server), "canary": arm(canary)}
            await proxy.install(
                {"arms": arms, "rules": [rule], "access": {"forward_auth": forward}}
            )
            async with connected(proxy.server) as client:
                forged = b"Remote-Groups: beta"
                beta = await client.ask(b"/", b"Cookie: s=beta")
                other = await client.ask(b"/", b"Cookie: s=no", forged)

            assert (beta[1], other[1]) == (b"canary", b"stable")
            assert b"Remote-Groups: beta" in canary.asked[0].head
            assert b"Remote-Groups: others" in ends.rows()


async def test_networks_come_first() -> None:
    async with asked_first() as (proxy, ends):
        access = {"deny": ["127.0.0.1"], "forward_auth": {"url": url_of(ends.auth)}}
        arms = {"stable": arm(ends.server)}
        await proxy.install({"arms": arms, "access": access})
        async with connected(proxy.server) as client:
            assert b" 403 " in (await client.ask())[0]

        assert not ends.auth.asked


async def test_a_change_of_something_else_asks_nobody_again() -> None:
    cache = {"time": 60}
    async with asked_first(cache=cache) as (proxy, ends):
        live = proxy.runtime.live
        assert live is not None
        access = {
            "forward_auth": {
                "url": url_of(ends.auth) + "/verify",
                "copy_headers": ["Remote-User", "Remote-Groups"],
                "cache": cache,
            }
        }
        arms = {"stable": arm(ends.server)}
        async with connected(proxy.server) as client:
            await client.ask()
            await proxy.install({"arms": arms, "style": "random", "access": access})
            await client.ask()
            assert len(ends.auth.asked) == 1

            access["forward_auth"]["copy_headers"] = ["Remote-User"]
            await proxy.install({"arms": arms, "access": access})
            await client.ask()
            assert len(ends.auth.asked) == 2

            await proxy.install({"arms": arms})
            await client.ask()
        assert len(ends.auth.asked) == 2
        assert len(ends.server.asked) == 4
        assert outcomes(proxy) == {"granted": 3}


async def test_what_a_change_removed_answers_those_who_wait() -> None:
    held = Held(b"Remote-User: ann")
    async with asked_first(held) as (proxy, ends), connected(proxy.server) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await held.asked.wait()
        await proxy.install({"arms": {"stable": arm(ends.server)}})
        held.go.set()
        head, _ = await client.response()

        assert head.startswith(b"HTTP/1.1 200")
        assert b"Remote-User: ann" in ends.rows()


@pytest.mark.parametrize("lines", [b"", b"Expect: 100-continue\r\n"])
@pytest.mark.parametrize("size", [10, 300_000])
async def test_a_body_goes_on_after_the_answer(lines: bytes, size: int) -> None:
    taken: list[int] = []

    async def takes(stream: trio.SocketStream) -> None:
        data, told = b"", False
        while (count := data.partition(b"\r\n\r\n")[2].count(b"x")) < size:
            more = await stream.receive_some()
            if not more:
                return
            data += more
            if not told and b"xpect: 100-continue\r\n" in data:
                told = True
                await stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
        taken.append(count)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    held = Held(b"Remote-User: ann")
    async with asked_first(held) as (proxy, ends), connected(proxy.server) as client:
        ends.server.raw = takes
        await client.send(CHUNKED % lines)
        await held.asked.wait()
        async with trio.open_nursery() as nursery:
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size)
            if not lines:
                nursery.start_soon(client.send, body)
                await trio.sleep(0.02)
            held.go.set()
            if lines:
                assert await client.head() == b"HTTP/1.1 100 Continue"
                await client.send(body)
            head, _ = await client.response()

    assert head.startswith(b"HTTP/1.1 200")
    assert taken == [size]
    assert ends.auth.asked[0].body == b""
    assert b"ontent-length" not in ends.auth.asked[0].head


async def test_a_websocket_is_asked_for_too() -> None:
    async def switches(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(
            b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        while data := await stream.receive_some():
            await stream.send_all(data)

    ask = (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    async with asked_first() as (proxy, ends), connected(proxy.server) as client:
        ends.server.raw = switches
        await client.send(ask)
        assert (await client.head()).startswith(b"HTTP/1.1 101")
        await client.send(b"\x81\x80abcd")
        assert await client.exactly(6) == b"\x81\x80abcd"
    async with asked_first(answering(b"401 No")) as (proxy, ends):
        async with connected(proxy.server) as client:
            await client.send(ask)
            assert (await client.response())[0].startswith(b"HTTP/1.1 401")
        assert not ends.server.asked
    assert b"Upgrade" not in ends.auth.asked[0].head


@contextlib.asynccontextmanager
async def served(
    document: dict[str, Any],
    log: AccessLog | None = None,
    passwords: PasswordLists | None = None,
) -> AsyncIterator[Proxied]:
    """Serve HTTP/1.1 and HTTP/2, with a log."""
    runtime = Runtime("web", observer=Observer(log), passwords=passwords)
    async with trio.open_nursery() as nursery:
        if log is not None:
            nursery.start_soon(log.run)
        start = partial(serve, ProxyHandler(runtime), [], h2c_binds=["127.0.0.1:0"])
        proxy = Proxied(await nursery.start(start), runtime)
        await proxy.install(document)
        with trio.fail_after(30):  # noqa: ASYNC100
            yield proxy
        nursery.cancel_scope.cancel()


async def test_streams_of_http2_are_asked_for_one_by_one() -> None:
    async def by_path(asked: ReceivedRequest) -> None:
        is_open = b"X-Forwarded-Uri: /open" in asked.head
        await (let_pass if is_open else answering(b"401 No"))(asked)

    async with fake_upstream(says_stable) as server, fake_upstream(by_path) as auth:
        access = {
            "forward_auth": {"url": url_of(auth), "copy_headers": ["Remote-User"]}
        }
        document = {"arms": {"stable": arm(server)}, "access": access}
        async with (
            served(document) as proxy,
            await trio.open_tcp_stream("127.0.0.1", port_of(proxy.server)) as stream,
        ):
            client = Http2Client(stream)
            await client.begin()
            forged = ("remote-user", "root")
            found = [
                await client.wait_over(await client.ask(path, forged))
                for path in ("/open", "/shut", "/open")
            ]
            call = ("content-type", "application/grpc")
            at = await client.ask("/pkg.S/M", call, method="POST")
            called = await client.wait_over(at)
            statuses = [one.status for one in found]

        assert statuses == [200, 401, 200]
        assert (called.status, called.heads[-1][b"grpc-status"]) == (200, b"16")
        rows = [one.head.split(b"\r\n") for one in server.asked]
        assert [row.count(b"Remote-User: ann") for row in rows] == [1, 1]
        assert not any(b"root" in one.head for one in server.asked)


async def test_a_client_that_leaves_is_logged_and_the_question_ends(
    tmp_path: Path,
) -> None:
    held = Held()
    async with fake_upstream(says_stable) as server, fake_upstream(held) as auth:
        access = {"forward_auth": {"url": url_of(auth)}}
        document = {"arms": {"stable": arm(server)}, "access": access}
        log = AccessLog(tmp_path / "log")
        async with served(document, log) as proxy:
            async with connected(proxy.server) as client:
                await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                await held.asked.wait()
            await held.gone.wait()
            await wait_until(lambda: bool(proxy.runtime.observer.counters.routes))
        assert not server.asked
    line = json.loads((tmp_path / "log").read_text())
    assert (line["status"], line["failure"]) == (499, "client left")
    assert (line["arm"], line["reason"]) == ("", "authenticating")


async def test_the_log_names_the_user_that_was_said(tmp_path: Path) -> None:
    async def says(asked: ReceivedRequest) -> None:
        name = asked.head.partition(b"Cookie: ")[2].partition(b"\r")[0]
        await asked.response(b"", *([b"Remote-User: " + name] if name else []))

    async with fake_upstream(says_stable) as server, fake_upstream(says) as auth:
        access = {"forward_auth": {"url": url_of(auth), "user_header": "remote-user"}}
        document = {"arms": {"stable": arm(server)}, "access": access}
        log = AccessLog(tmp_path / "log")
        async with (
            served(document, log) as proxy,
            connected(proxy.server) as client,
        ):
            await client.ask(b"/", b'Cookie: a"b')
            await client.ask(b"/", b"Remote-User: root")
        assert not any(b"Remote-User" in one.head for one in server.asked)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line.get("user") for line in lines] == ['a"b', None]


async def test_our_own_cookie_is_not_told() -> None:
    async with asked_first() as (proxy, ends):
        access = {"forward_auth": {"url": url_of(ends.auth), "cache": {"time": 60}}}
        await proxy.install(
            {
                "arms": {"stable": arm(ends.server)},
                "sticky_sessions": True,
                "access": access,
            }
        )
        async with connected(proxy.server) as client:
            head, _ = await client.ask(b"/", b"Cookie: s=1")
            own = head.partition(b"Set-Cookie: ")[2].partition(b";")[0]
            assert own.startswith(b"canary-web=")
            head, _ = await client.ask(b"/", b"Cookie: s=1; " + own)
            assert b"Set-Cookie" not in head, "it is known by its own cookie"

        assert len(ends.auth.asked) == 1


async def test_cookies_of_both_reach_the_client() -> None:
    answer = answering(b"200 OK", b"Set-Cookie: a=1", b"Set-Cookie: b=2")
    for sticky in (False, True):
        async with asked_first(answer, set_cookies=True) as (proxy, ends):
            access = {"forward_auth": {"url": url_of(ends.auth), "set_cookies": True}}
            arms = {"stable": arm(ends.server)}
            await proxy.install(
                {"arms": arms, "sticky_sessions": sticky, "access": access}
            )
            async with connected(proxy.server) as client:
                head, _ = await client.ask()

        rows = [row for row in head.split(b"\r\n") if row.startswith(b"Set-Cookie")]
        assert rows[-2:] == [b"Set-Cookie: a=1", b"Set-Cookie: b=2"]
        assert len(rows) == 2 + sticky


async def test_a_server_that_is_asked_may_be_named() -> None:
    """Its name is resolved with those of the arms."""
    async with asked_first() as (proxy, ends):
        access = {"forward_auth": {"url": f"http://localhost:{ends.auth.port}"}}
        arms = {"stable": arm(ends.server)}
        await proxy.install({"arms": arms, "access": access})
        async with connected(proxy.server) as client:
            assert (await client.ask())[1] == b"stable"
        assert len(ends.auth.asked) == 1


async def test_without_an_answer_nobody_passes() -> None:
    async with asked_first() as (proxy, ends):
        port = nobody().addresses[0][1][1]
        access = {"forward_auth": {"url": f"http://127.0.0.1:{port}"}}
        arms = {"stable": arm(ends.server)}
        await proxy.install({"arms": arms, "access": access})
        async with connected(proxy.server) as client:
            head, body = await client.ask()
            assert head.startswith(b"HTTP/1.1 503")
            assert b"who may pass" in body
            access["forward_auth"]["on_failure"] = "allow"
            await proxy.install({"arms": arms, "access": access})
            assert (await client.ask())[1] == b"stable"

        assert dict(proxy.runtime.observer.counters.refusals) == {"auth_failed": 1}
        assert outcomes(proxy) == {"failed": 1, "let_by": 1}


# === passwords ===


@pytest.fixture
def passwords(tmp_path: Path) -> PasswordLists:
    from base64 import b64encode  # noqa: PLC0415
    from hashlib import scrypt  # noqa: PLC0415

    digest = scrypt(b"secret", salt=bytes(16), n=2, r=1, p=1, dklen=32)
    line = f"ann:{SMALL}{b64encode(digest).decode().rstrip('=')}\n"
    (tmp_path / "staff").write_text(line)
    return PasswordLists(tmp_path)


@pytest.mark.parametrize("form", LineForm)
async def test_a_user_passes_and_is_named(
    passwords: PasswordLists, tmp_path: Path, form: LineForm
) -> None:
    log = AccessLog(tmp_path / "log", form)
    async with fake_upstream(says_stable) as server:
        access = {
            "basic_auth": {"file": "staff", "realm": "x", "user_header": "X-User"}
        }
        document = {"arms": {"stable": arm(server)}, "access": access}
        async with (
            served(document, log, passwords) as proxy,
            connected(proxy.server) as client,
        ):
            refused, _ = await client.ask(b"/", b"X-User: ann")
            head, _ = await client.ask(b"/", said("ann", "secret"), b"X-User: root")
            await client.ask(b"/", said("ann", "wrong"))
            assert dict(proxy.runtime.observer.counters.refusals) == {
                "unauthenticated": 2
            }
            assert outcomes(proxy, "basic_auth") == {"denied": 2, "granted": 1}

        assert refused.startswith(b"HTTP/1.1 401")
        assert b'WWW-Authenticate: Basic realm="x", charset="UTF-8"' in refused
        assert head.startswith(b"HTTP/1.1 200")
        (asked,) = server.asked
        assert b"X-User: ann" in asked.head
        assert b"root" not in asked.head
        assert b"uthorization" not in asked.head
    lines = (tmp_path / "log").read_text().splitlines()
    if form is LineForm.TEXT:
        assert ["127.0.0.1 - ann [" in line for line in lines] == [False, True, False]
        assert lines[0].startswith("127.0.0.1 - - [")
    else:
        found = [json.loads(line) for line in lines]
        assert [line.get("user") for line in found] == [None, "ann", None]
        assert [line["reason"] for line in found][::2] == ["unauthenticated"] * 2


async def test_both_may_be_asked_for(passwords: PasswordLists) -> None:
    async with fake_upstream(says_stable) as server, fake_upstream(let_pass) as auth:
        access = {
            "basic_auth": {"file": "staff", "user_header": "X-User"},
            "forward_auth": {"url": url_of(auth), "copy_headers": ["Remote-User"]},
        }
        document = {"arms": {"stable": arm(server)}, "access": access}
        async with (
            served(document, None, passwords) as proxy,
            connected(proxy.server) as client,
        ):
            assert b" 401 " in (await client.ask())[0]
            assert not auth.asked
            assert b" 200 " in (await client.ask(b"/", said("ann", "secret")))[0]

        assert said("ann", "secret") in auth.asked[0].head.split(b"\r\n")
        for row in (b"X-User: ann", b"Remote-User: ann"):
            assert row in server.asked[0].head.split(b"\r\n")


@pytest.mark.parametrize(
    ("name", "words"), [("staff", "--passwords DIR"), ("other", "No such file")]
)
async def test_a_file_that_is_not_there_refuses_the_document(
    passwords: PasswordLists, name: str, words: str
) -> None:
    found = PasswordLists() if name == "staff" else passwords
    runtime = Runtime("web", passwords=found)
    access = {"basic_auth": {"file": name}}
    arms = {"stable": {"servers": ["http://127.0.0.1:9"]}}
    config = load(json.dumps({"arms": arms, "access": access}))

    with pytest.raises(InvalidConfig) as caught:
        await runtime.build(config, 1)

    (problem,) = caught.value.problems
    assert problem.path == "$.access.basic_auth.file"
    assert words in problem.found


# === behind a body ===


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        (b"X-Sum", True),
        (b"Remote-User", False),
        (b"remote_groups", False),
        (b"X-Forwarded-For", False),
        (b"X_Real_IP", False),
        (b"Client-Cert", False),
        (b"X-Removed", False),
        (b"X-Set", False),
        (b"Authorization", False),
    ],
)
async def test_what_no_field_may_say_no_trailer_says(name: bytes, passes: bool) -> None:
    taken: list[bytes] = []

    async def takes(stream: trio.SocketStream) -> None:
        data = b""
        while b"\r\n0\r\n" not in data or not data.endswith(b"\r\n\r\n"):
            data += await stream.receive_some()
        taken.append(data.partition(b"\r\n0\r\n")[2])
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with asked_first() as (proxy, ends):
        ends.server.raw = takes
        access = {
            "forward_auth": {
                "url": url_of(ends.auth),
                "copy_headers": ["Remote-User", "Remote-Groups"],
            }
        }
        changes = {"remove": ["X-Removed"], "set": {"X-Set": "ours"}}
        arms = {"stable": arm(ends.server, request_headers=changes)}
        await proxy.install({"arms": arms, "access": access})
        async with connected(proxy.server) as client:
            lines = b"Trailer: %b\r\nConnection: TE\r\nTE: trailers\r\n" % name
            await client.send(CHUNKED % lines)
            await wait_until(lambda: bool(ends.auth.asked))
            await client.send(b"3\r\nabc\r\n0\r\nX-Last: 1\r\n%b: root\r\n\r\n" % name)
            assert (await client.response())[0].startswith(b"HTTP/1.1 200")

    kept = b"%b: root\r\n" % name if passes else b""
    assert taken == [b"X-Last: 1\r\n" + kept + b"\r\n"]


# === by other ways ===


@pytest.mark.parametrize("scheme", ["h2c", "https", "unix"])
async def test_it_is_asked_as_servers_are(scheme: str, tmp_path: Path) -> None:
    asked: list[tuple[str, bytes]] = []

    def answers(exchange: Exchange) -> None:
        asked.append((exchange.protocol, exchange.target))
        known = exchange.header(b"x-forwarded-uri") == b"/open"
        fields = ((b"Remote-User", b"ann"),) if known else ()
        exchange.respond(Response(200 if known else 403, headers=fields))

    authority = Authority(tmp_path)
    path = tmp_path / "s"
    start = {
        "h2c": partial(serve, answers, [], h2c_binds=["127.0.0.1:0"]),
        "https": partial(serve, answers, ["127.0.0.1:0"], tls=Tls(*authority.issue())),
        "unix": partial(serve, answers, [f"unix:{path}"]),
    }[scheme]
    async with fake_upstream(says_stable) as server, trio.open_nursery() as nursery:
        auth = await nursery.start(start)
        url = f"unix:{path}"
        if scheme != "unix":
            url = f"{scheme}://localhost:{port_of(auth)}"
        tls = {"ca": str(authority.ca_file)} if scheme == "https" else {}
        rules = {"copy_headers": ["Remote-User"], "path": "/verify", "tls": tls}
        access = {"forward_auth": {"url": url, **rules}}
        arms = {"stable": arm(server)}
        async with (
            proxied(arms, ratio=0, access=access) as proxy,
            connected(proxy.server) as client,
        ):
            assert (await client.ask(b"/open"))[1] == b"stable"
            assert b" 403 " in (await client.ask(b"/shut"))[0]
            if scheme == "https":
                del access["forward_auth"]["tls"]
                await proxy.install({"arms": arms, "access": access})
                assert b" 503 " in (await client.ask(b"/open"))[0]
        nursery.cancel_scope.cancel()

    protocol = "HTTP/2" if scheme == "h2c" else "HTTP/1.1"
    assert asked == [(protocol, b"/verify")] * 2
    assert b"Remote-User: ann" in server.asked[0].head
