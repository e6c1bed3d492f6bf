"""A server that is asked: what it is told, what becomes of its answers, and of none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.config.auth import AuthCache, ForwardAuth, OnFailure
from canary_trio.proxy.auth.forward_auth import (
    BODY_BYTES,
    ForwardAuthCheck,
    fields_named,
)
from canary_trio.serving.rewritten_head import with_target
from canary_trio.telemetry.auth_counts import AuthCounts
from http_trio import Limits, Upstream
from http_trio.http1.request_head import parse_request_head
from http_trio.testing.peers import (
    FakeUpstream,
    RawClient,
    ReceivedRequest,
    connected,
    fake_upstream,
)
from tests.canary_trio.proxy.auth.support import guarded
from tests.http_trio.proxy.test_hooks import nobody, silent

RULES = ForwardAuth("http://auth", copy_headers=("Remote-User", "Remote-Groups"))
FIELDS = b"Remote-User: ann", b"X-Other: x", b"remote-groups: a, b"


def check_of(
    upstream: Upstream, rules: ForwardAuth = RULES
) -> tuple[ForwardAuthCheck, AuthCounts]:
    counts = AuthCounts()
    return ForwardAuthCheck(rules, upstream, counts), counts


async def let_pass(asked: ReceivedRequest) -> None:
    await asked.response(b"", *FIELDS)


def answering(
    status: bytes, *lines: bytes, body: bytes = b""
) -> Callable[[ReceivedRequest], Awaitable[None]]:
    async def script(asked: ReceivedRequest) -> None:
        rows = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *lines]
        await asked.stream.send_all(b"\r\n".join(rows) + b"\r\n\r\n" + body)

    return script


async def test_a_2xx_lets_pass_with_the_fields_that_are_named() -> None:
    async with fake_upstream(let_pass) as fake:
        check, counts = check_of(fake.upstream)
        async with guarded(check) as (server, _), connected(server) as client:
            head, body = await client.ask(
                b"/a",
                b"Remote-User: root",
                b"remote_groups: wheel",
                b"Accept: */*",
            )

    assert head.startswith(b"HTTP/1.1 200")
    assert body == b"\r\nAccept: */*\r\nRemote-User: ann\r\nRemote-Groups: a, b"
    assert (counts.outcomes, counts.asked) == ({"granted": 1}, 1)


async def test_it_is_told_of_the_request_and_gets_no_body() -> None:
    async with fake_upstream(let_pass) as fake:
        rules = attrs.evolve(RULES, path="/verify?app=a")
        check, _ = check_of(fake.upstream, rules)
        async with guarded(check) as (server, _), connected(server) as client:
            await client.ask(
                b"/a?b=c",
                b"Cookie: s=1",
                b"Authorization: Bearer x",
                b"X-Secret: y",
                b"X-Forwarded-Method: GET",
                b"X-Forwarded-Uri: /public",
                method=b"DELETE",
                body=b"a body",
            )

    asked = fake.asked[0]
    rows = asked.head.split(b"\r\n")
    assert rows[:2] == [b"GET /verify?app=a HTTP/1.1", b"Host: fake"]
    assert asked.body == b""
    for row in (
        b"X-Forwarded-Method: DELETE",
        b"X-Forwarded-Uri: /a?b=c",
        b"X-Forwarded-Proto: http",
        b"X-Forwarded-Host: test",
        b"X-Forwarded-For: 127.0.0.1",
        b"Cookie: s=1",
        b"Authorization: Bearer x",
    ):
        assert rows.count(row) == 1, row
    names = {row.partition(b":")[0].lower() for row in rows[1:]}
    assert names.isdisjoint({b"content-length", b"transfer-encoding", b"x-secret"})
    assert len([row for row in rows if row.lower().startswith(b"x-forwarded-")]) == 5


async def test_it_is_told_of_a_path_as_the_service_reads_it() -> None:
    async with fake_upstream(let_pass) as fake:
        check, _ = check_of(fake.upstream)
        rewrite = partial(with_target, target=b"/x", judged=b"/api/x")
        async with guarded(check, rewrite=rewrite) as (server, _):
            async with connected(server) as client:
                await client.ask(b"/./api/x")

    assert b"\r\nX-Forwarded-Uri: /api/x\r\n" in fake.asked[0].head + b"\r\n"


@pytest.mark.parametrize(
    ("status", "lines", "body"),
    [
        (b"401 Unauthorized", [b'WWW-Authenticate: Bearer realm="a"'], b"who?"),
        (b"302 Found", [b"Location: https://login/?rd=a", b"Set-Cookie: s=1"], b""),
        (b"403 Forbidden", [b"Content-Type: text/html"], b"<p>no</p>"),
        (b"429 Too Many Requests", [b"Retry-After: 7"], b""),
        (
            b"401 No",
            [b"Set-Cookie: a=1", b"Set-Cookie: b=2", b"Content-Encoding: gzip"],
            b"\x1f\x8b",
        ),
    ],
)
async def test_any_other_answer_goes_to_the_client(
    status: bytes, lines: list[bytes], body: bytes
) -> None:
    script = answering(status, *lines, b"Connection: x-hop", b"X-Hop: y", body=body)
    async with fake_upstream(script) as fake:
        check, counts = check_of(fake.upstream)
        async with guarded(check) as (server, _), connected(server) as client:
            head, found = await client.ask()
            assert (await client.ask())[1] == body, "the connection lives on"

    rows = head.split(b"\r\n")
    assert rows[0].startswith(b"HTTP/1.1 " + status[:3])
    assert found == body
    assert [row for row in rows if row in lines] == lines
    names = [row.partition(b":")[0].lower() for row in rows]
    assert (names.count(b"date"), names.count(b"content-length")) == (1, 1)
    assert b"x-hop" not in names
    assert counts.outcomes == {"denied": 2}


async def test_of_a_long_answer_the_body_stays_behind() -> None:
    script = answering(
        b"401 No",
        b"Content-Type: text/html",
        b"Content-Encoding: gzip",
        b"WWW-Authenticate: Basic",
        body=b"x" * (BODY_BYTES + 1),
    )
    async with fake_upstream(script) as fake:
        check, _ = check_of(fake.upstream)
        async with guarded(check) as (server, _), connected(server) as client:
            head, body = await client.ask()

    assert body == b"401 Unauthorized\n"
    assert b"WWW-Authenticate: Basic" in head
    assert b"gzip" not in head
    assert head.count(b"Content-Type") == 1


async def refuse_to_answer(asked: ReceivedRequest) -> None:
    await asked.stream.aclose()


@pytest.mark.parametrize(
    "script",
    [answering(b"500 Oh"), answering(b"503 Busy"), refuse_to_answer, silent],
    ids=["500", "503", "closed", "silent"],
)
@pytest.mark.parametrize("on_failure", OnFailure)
async def test_without_an_answer_the_door_is_closed_unless_said_otherwise(
    script: Callable[[ReceivedRequest], Awaitable[None]],
    on_failure: OnFailure,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rules = attrs.evolve(RULES, on_failure=on_failure, timeout=0.1)
    async with fake_upstream(script) as fake:
        upstream = fake.upstream
        check, counts = check_of(upstream, rules)
        async with guarded(check) as (server, _), connected(server) as client:
            await client.ask(b"/", b"Remote-User: root")
            head, body = await client.ask(b"/", b"Remote-User: root")

        assert upstream.open == len(upstream.idle)
    if on_failure is OnFailure.DENY:
        assert head.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 1" in head
        assert counts.outcomes == {"failed": 2}
    else:
        assert (head[:12], body) == (b"HTTP/1.1 200", b"")
        assert counts.outcomes == {"let_by": 2}
    assert check.trouble
    assert caplog.text.count("forward_auth by http://auth: ") == 1, (
        "once, not each time"
    )


@pytest.mark.parametrize(
    "upstream", [nobody(), Upstream("nowhere", [], b"a")], ids=["refused", "no address"]
)
async def test_a_server_that_is_not_there_lets_nobody_pass(upstream: Upstream) -> None:
    check, counts = check_of(upstream)
    async with guarded(check) as (server, _), connected(server) as client:
        assert (await client.ask())[0].startswith(b"HTTP/1.1 503")

    assert counts.outcomes == {"failed": 1}


async def test_connections_to_it_are_kept() -> None:
    async with fake_upstream(let_pass) as fake:
        check, _ = check_of(fake.upstream)
        async with guarded(check) as (server, _), connected(server) as client:
            for number in range(5):
                await client.ask(b"/%d" % number)

    assert (len(fake.asked), fake.connections) == (5, 1)


# === kept answers ===

KEPT = attrs.evolve(RULES, cache=AuthCache(time=60.0))
BY_COOKIE = attrs.evolve(RULES, cache=AuthCache(time=60.0, by=("Cookie",)))


@pytest.mark.parametrize(
    ("rules", "other", "asked"),
    [
        (RULES, (b"/a", b"Cookie: s=1"), 2),
        (KEPT, (b"/a", b"Cookie: s=1"), 1),
        (KEPT, (b"/b", b"Cookie: s=1"), 2),
        (KEPT, (b"/a", b"Cookie: s=2"), 2),
        (KEPT, (b"/a", b"Cookie: s=1", b"X-Other: x"), 1),
        (KEPT, (b"/a", b"Cookie: s=1", b"Authorization: y"), 2),
        (BY_COOKIE, (b"/b", b"Cookie: s=1"), 1),
        (BY_COOKIE, (b"/b", b"Cookie: s=1", b"Authorization: y"), 1),
        (BY_COOKIE, (b"/a", b"Cookie: s=2"), 2),
        (BY_COOKIE, (b"/a",), 2),
    ],
)
async def test_an_answer_is_kept_for_those_who_would_ask_the_same(
    rules: ForwardAuth, other: tuple[bytes, ...], asked: int
) -> None:
    async with fake_upstream(let_pass) as fake:
        check, counts = check_of(fake.upstream, rules)
        async with guarded(check) as (server, _), connected(server) as client:
            one = await client.ask(b"/a", b"Cookie: s=1")
            two = await client.ask(*other)

    assert b"Remote-User: ann" in one[1]
    assert b"Remote-User: ann" in two[1]
    assert (len(fake.asked), counts.asked) == (asked, asked)
    assert counts.outcomes == {"granted": 2}


async def test_the_method_the_host_and_the_client_are_part_of_the_question() -> None:
    async with fake_upstream(let_pass) as fake:
        check, _ = check_of(fake.upstream, KEPT)
        async with guarded(check) as (server, _), connected(server) as client:
            await client.ask()
            await client.ask(method=b"POST", body=b"x")
            await client.send(b"GET / HTTP/1.1\r\nHost: other\r\n\r\n")
            await client.response()

    assert len(fake.asked) == 3


async def test_two_services_share_no_answer() -> None:
    async with fake_upstream(let_pass) as fake:
        one, _ = check_of(fake.upstream, BY_COOKIE)
        other, _ = check_of(fake.upstream, BY_COOKIE)
        for check in (one, other):
            async with guarded(check) as (server, _), connected(server) as client:
                await client.ask(b"/", b"Cookie: s=1")

    assert len(fake.asked) == 2


async def test_an_answer_ends_with_its_time() -> None:
    rules = attrs.evolve(RULES, cache=AuthCache(time=0.05))
    async with fake_upstream(let_pass) as fake:
        check, _ = check_of(fake.upstream, rules)
        async with guarded(check) as (server, _), connected(server) as client:
            await client.ask()
            await trio.sleep(0.06)
            await client.ask()

    assert len(fake.asked) == 2


@pytest.mark.parametrize(
    ("cache", "script", "asked"),
    [
        (AuthCache(time=60.0), answering(b"401 No"), 2),
        (AuthCache(time=60.0, refusals=60.0), answering(b"401 No"), 1),
        (AuthCache(time=0.0, refusals=60.0), let_pass, 2),
        (AuthCache(time=60.0, refusals=60.0), answering(b"500 Oh"), 2),
        (AuthCache(time=60.0), answering(b"200 OK", b"Set-Cookie: s=1"), 2),
        (
            AuthCache(time=60.0, refusals=60.0),
            answering(b"302 Found", b"Set-Cookie: nonce=1"),
            2,
        ),
        (
            AuthCache(time=60.0),
            answering(b"200 OK", b"Cache-Control: private, no-store"),
            2,
        ),
    ],
    ids=[
        "refusal",
        "kept refusal",
        "no time",
        "failure",
        "cookie",
        "login",
        "no-store",
    ],
)
async def test_what_is_not_for_others_is_not_kept(
    cache: AuthCache,
    script: Callable[[ReceivedRequest], Awaitable[None]],
    asked: int,
) -> None:
    async with fake_upstream(script) as fake:
        check, _ = check_of(fake.upstream, attrs.evolve(RULES, cache=cache))
        async with guarded(check) as (server, _), connected(server) as client:
            first = await client.ask()
            again = await client.ask()

    assert len(fake.asked) == asked
    assert first[0][:12] == again[0][:12]


async def test_cookies_of_a_2xx_go_to_the_client_where_that_is_said() -> None:
    for wanted in (False, True):
        script = answering(b"200 OK", b"Set-Cookie: a=1", b"Set-Cookie: b=2")
        async with fake_upstream(script) as fake:
            rules = attrs.evolve(RULES, set_cookies=wanted)
            check, _ = check_of(fake.upstream, rules)
            async with guarded(check) as (server, door), connected(server) as client:
                await client.ask()

        expected = b"\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2" if wanted else b""
        assert [one.cookies for one in door.granted] == [expected]


# === questions that are shared ===


async def asking(
    fake: FakeUpstream,
    clients: list[RawClient],
    nursery: trio.Nursery,
    *lines: tuple[bytes, ...],
) -> list[bytes]:
    """Let clients ask at once, while the server is silent until all wait."""
    found: list[bytes] = []

    async def one(client: RawClient, given: tuple[bytes, ...]) -> None:
        head, body = await client.ask(*given)
        found.append(head + body)

    for client, words in zip(clients, lines, strict=True):
        nursery.start_soon(one, client, words)
    return found


class Held:
    """A script that answers when it is told to."""

    def __init__(self, *lines: bytes, status: bytes = b"200 OK") -> None:
        self.go = trio.Event()
        self.asked = trio.Event()
        self.gone = trio.Event()
        self._answer = answering(status, *lines)

    async def __call__(self, asked: ReceivedRequest) -> None:
        self.asked.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, asked.stream, nursery.cancel_scope)
            await self.go.wait()
            await self._answer(asked)
            nursery.cancel_scope.cancel()

    async def _watch(self, stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        assert await stream.receive_some() == b"", "nothing more is asked meanwhile"
        self.gone.set()
        scope.cancel()


async def wait_until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not condition():
            await trio.sleep(0.005)


@pytest.mark.parametrize(
    ("held", "rules", "asked"),
    [
        (Held(*FIELDS), RULES, 1),
        (Held(status=b"401 No"), RULES, 1),
        (Held(status=b"500 Oh"), RULES, 1),
        (Held(b"Set-Cookie: nonce=1", status=b"302 Found"), RULES, 3),
        (Held(*FIELDS), BY_COOKIE, 1),
        (Held(status=b"302 Found"), BY_COOKIE, 3),
    ],
    ids=["granted", "denied", "failed", "login", "by cookie", "login by cookie"],
)
async def test_who_asks_the_same_at_once_shares_a_question(
    held: Held, rules: ForwardAuth, asked: int
) -> None:
    paths = [b"/a", b"/b", b"/c"] if rules is BY_COOKIE else [b"/a"] * 3
    async with fake_upstream(held) as fake, trio.open_nursery() as nursery:
        check, counts = check_of(fake.upstream, rules)
        async with (
            guarded(check) as (server, _),
            connected(server) as a,
            connected(server) as b,
            connected(server) as c,
        ):
            lines = [(path, b"Cookie: s=1") for path in paths]
            found = await asking(fake, [a, b, c], nursery, *lines)
            await wait_until(lambda: len(check.waiting()) == 3)
            held.go.set()
            await wait_until(lambda: len(found) == 3)

    assert len(fake.asked) == counts.asked == asked
    assert len({one.split(b"Date")[0] for one in found}) == 1
    if asked == 3:
        uris = sorted(
            row
            for one in fake.asked
            for row in one.head.split(b"\r\n")
            if row.startswith(b"X-Forwarded-Uri")
        )
        assert uris == [b"X-Forwarded-Uri: " + path for path in paths]


async def test_a_client_that_leaves_cancels_the_question() -> None:
    held = Held()
    async with fake_upstream(held) as fake:
        upstream = fake.upstream
        check, counts = check_of(upstream)
        async with guarded(check) as (server, door):
            async with connected(server) as client:
                await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                await held.asked.wait()
            with trio.fail_after(30):
                await held.gone.wait()
            await wait_until(lambda: upstream.open == 0)

            assert (door.left, door.granted, door.refused) == (1, [], [])
            assert (counts.outcomes, check.waiting()) == ({}, [])
            held.go.set()
            async with connected(server) as client:
                assert (await client.ask())[0].startswith(b"HTTP/1.1 200")


async def test_a_client_that_leaves_cancels_no_others_question() -> None:
    held = Held()
    async with fake_upstream(held) as fake, trio.open_nursery() as nursery:
        check, _ = check_of(fake.upstream)
        async with guarded(check) as (server, door), connected(server) as stays:
            async with connected(server) as leaves:
                found = await asking(fake, [leaves, stays][1:], nursery, (b"/",))
                await leaves.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
                await wait_until(lambda: len(check.waiting()) == 2)
            await wait_until(lambda: door.left == 1)
            assert not held.gone.is_set()
            held.go.set()
            await wait_until(lambda: len(found) == 1)

    assert found[0].startswith(b"HTTP/1.1 200")
    assert len(fake.asked) == 1


async def test_a_drain_lets_those_who_wait_be_answered() -> None:
    held = Held()
    async with fake_upstream(held) as fake, trio.open_nursery() as nursery:
        check, _ = check_of(fake.upstream)
        async with guarded(check) as (server, _), connected(server) as client:
            found = await asking(fake, [client], nursery, (b"/",))
            await held.asked.wait()
            server.drain(10)
            held.go.set()
            await wait_until(lambda: len(found) == 1)

    assert found[0].startswith(b"HTTP/1.1 200")


def test_names_are_found_however_they_are_written() -> None:
    found = fields_named(["Remote-User", "X_Id"])
    assert found is not None
    fields = (
        b"\r\nRemote-User: a\r\nremote_user: b\r\nRemote-Users: c\r\nX-Id : d"
        b"\r\nA: Remote-User: e"
    )

    assert found.sub(b"", fields) == b"\r\nRemote-Users: c\r\nA: Remote-User: e"
    assert fields_named([]) is None


# === what an answer is for ===

WORDS = st.sampled_from(["a", "b", "a: b", "Cookie"])
SAID = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["GET", "POST"]),
        "path": st.sampled_from(["/", "/a", "/a?Cookie:a", "/%0d%0aCookie:%20a"]),
        "host": st.sampled_from(["a", "b"]),
    },
    optional={"Cookie": WORDS, "Authorization": WORDS, "X-Other": WORDS},
)


def _keys(said: dict[str, str]) -> tuple[bytes, bytes]:
    """Give what an answer is kept by: all of the question, and two fields of it."""
    lines = [f"{name}: {said[name]}" for name in sorted(said) if name[:1].isupper()]
    first = f"{said['method']} {said['path']} HTTP/1.1", f"Host: {said['host']}"
    raw = "\r\n".join([*first, *lines]).encode() + b"\r\n\r\n"
    head = parse_request_head(raw, Limits())
    exchange: Any = SimpleNamespace(
        head=head,
        forwarded_fields=lambda: b"\r\nX-Forwarded-Host: " + said["host"].encode(),
    )
    found = []
    for check in (WHOLE, NARROW):
        question = check._question(exchange, head.kept)
        found.append(check._key_of(question, head.kept))
    return found[0], found[1]


WHOLE, _ = check_of(Upstream("a", [], b"a"), KEPT)
NARROW, _ = check_of(
    Upstream("a", [], b"a"),
    attrs.evolve(RULES, cache=AuthCache(time=60.0, by=("Authorization", "Cookie"))),
)


@given(SAID, SAID)
def test_an_answer_is_for_the_same_question_alone(
    one: dict[str, str], other: dict[str, str]
) -> None:
    def told(said: dict[str, str]) -> dict[str, str]:
        return {name: value for name, value in said.items() if name != "X-Other"}

    def named(said: dict[str, str]) -> tuple[str | None, str | None]:
        return said.get("Authorization"), said.get("Cookie")

    whole, narrow = zip(_keys(one), _keys(other), strict=True)
    assert (whole[0] == whole[1]) == (told(one) == told(other))
    assert (narrow[0] == narrow[1]) == (named(one) == named(other))
