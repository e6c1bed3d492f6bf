"""What a broken upstream does to a proxy, and what a client must be told of it."""

from __future__ import annotations

import contextlib
import errno

import attrs
import pytest
import trio

from http_trio import FailureReason, Limits
from http_trio.testing.peers import RawClient, ReceivedRequest, Script, connected
from tests.http_trio.support.watched import Watched, reset_stream, watched

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
# Short only where the wait is what is tested: a busy machine pauses for longer.
PATIENT = Limits(linger_s=0.05)
IMPATIENT = Limits(response_s=0.1, stream_idle_s=0.1, write_s=0.2, linger_s=0.05)

# A request with a body in chunks that is not there yet is carried by a task.
FAST = (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"")
SLOW = (
    b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"0\r\n\r\n",
)

paths = pytest.mark.parametrize("path", [FAST, SLOW], ids=["fast", "slow"])
PathRequest = tuple[bytes, bytes]


@pytest.fixture(autouse=True)
def _swept_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("http_trio.net.event_loop._SWEEP_S", 0.02)


async def ask(client: RawClient, path: PathRequest) -> None:
    await client.send(path[0])
    if path[1]:
        await trio.testing.wait_all_tasks_blocked(0.002)
        await client.send(path[1])


def answering(data: bytes, *, then: str = "close") -> Script:
    """Answer any request with these bytes, then close, reset, stall, or go on."""

    async def script(asked: ReceivedRequest) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await asked.stream.send_all(data)
        if then == "close":
            await asked.stream.aclose()
        elif then == "reset":
            await trio.testing.wait_all_tasks_blocked(0.002)
            await reset_stream(asked.stream)
        elif then == "stall":
            while await asked.stream.receive_some():
                pass

    return script


@attrs.frozen
class Case:
    """A response, what follows it, and what the client sees of it."""

    data: bytes
    then: str
    status: int
    condition: FailureReason | None
    whole: bool = True


_LONG = OK + b"Content-Length: 999999\r\n\r\n" + b"x" * 500_000
CASES = {
    "nothing, close": Case(b"", "close", 502, FailureReason.CLOSED),
    "nothing, reset": Case(b"", "reset", 502, FailureReason.CLOSED),
    "nothing, stall": Case(b"", "stall", 504, FailureReason.RESPONSE_TIMEOUT),
    "half a head, close": Case(OK, "close", 502, FailureReason.CLOSED),
    "half a head, reset": Case(OK, "reset", 502, FailureReason.CLOSED),
    "half a head, stall": Case(OK, "stall", 504, FailureReason.RESPONSE_TIMEOUT),
    "a bare LF, stall": Case(
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        "stall",
        502,
        FailureReason.BAD_RESPONSE,
    ),
    "one bare LF, stall": Case(
        OK + b"X: y\nZ", "stall", 502, FailureReason.BAD_RESPONSE
    ),
    "a padded chunk size, stall": Case(
        CHUNKED + b"2 \r\nok\r\n0\r\n\r\n",
        "stall",
        502,
        FailureReason.BAD_RESPONSE,
    ),
    "only 100, close": Case(
        b"HTTP/1.1 100 C\r\n\r\n", "close", 502, FailureReason.CLOSED
    ),
    "only 103, stall": Case(
        b"HTTP/1.1 103 E\r\n\r\n", "stall", 504, FailureReason.RESPONSE_TIMEOUT
    ),
    "half a length, close": Case(
        OK + b"Content-Length: 9\r\n\r\nabc",
        "close",
        200,
        FailureReason.CLOSED,
        whole=False,
    ),
    "half a length, reset": Case(
        OK + b"Content-Length: 9\r\n\r\nabc",
        "reset",
        200,
        FailureReason.CLOSED,
        whole=False,
    ),
    "half a length, stall": Case(
        OK + b"Content-Length: 9\r\n\r\nabc",
        "stall",
        200,
        FailureReason.STALLED,
        whole=False,
    ),
    "half of much, close": Case(_LONG, "close", 200, FailureReason.CLOSED, whole=False),
    "half of much, reset": Case(_LONG, "reset", 200, FailureReason.CLOSED, whole=False),
    "half of much, stall": Case(
        _LONG, "stall", 200, FailureReason.STALLED, whole=False
    ),
    "a chunk, close": Case(
        CHUNKED + b"1\r\na\r\n", "close", 200, FailureReason.CLOSED, whole=False
    ),
    "a chunk, reset": Case(
        CHUNKED + b"1\r\na\r\n", "reset", 200, FailureReason.CLOSED, whole=False
    ),
    "a chunk, stall": Case(
        CHUNKED + b"1\r\na\r\n", "stall", 200, FailureReason.STALLED, whole=False
    ),
    "a chunk, garbage": Case(
        CHUNKED + b"1\r\na\r\nxyz\r\n", "stall", 502, FailureReason.BAD_RESPONSE
    ),
    "until close, reset": Case(
        OK + b"\r\nabc", "reset", 200, FailureReason.CLOSED, whole=False
    ),
    "until close, stall": Case(
        OK + b"\r\nabc", "stall", 200, FailureReason.STALLED, whole=False
    ),
    "until close": Case(OK + b"\r\nabc", "close", 200, None),
    "until close, HTTP/1.0": Case(b"HTTP/1.0 200 OK\r\n\r\nabc", "close", 200, None),
    "not HTTP": Case(
        b"220 mail ESMTP\r\n\r\n", "stall", 502, FailureReason.BAD_RESPONSE
    ),
    "HTTP/0.9": Case(b"<html></html>", "close", 502, FailureReason.CLOSED),
    "TLS alert": Case(
        b"\x15\x03\x01\x00\x02\x02\x46", "close", 502, FailureReason.CLOSED
    ),
    "two lengths": Case(
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "stall",
        502,
        FailureReason.BAD_RESPONSE,
    ),
    "length and chunks": Case(
        OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "stall",
        502,
        FailureReason.BAD_RESPONSE,
    ),
    "unknown coding": Case(
        OK + b"Transfer-Encoding: gzip\r\n\r\nx",
        "stall",
        502,
        FailureReason.BAD_RESPONSE,
    ),
    "a fold": Case(
        OK + b"X: a\r\n b\r\n\r\n", "stall", 502, FailureReason.BAD_RESPONSE
    ),
    "bare LF": Case(
        b"HTTP/1.1 200 OK\nX: a\n\n", "close", 502, FailureReason.BAD_RESPONSE
    ),
    "NUL in a value": Case(
        OK + b"X: a\0b\r\n\r\n", "stall", 502, FailureReason.BAD_RESPONSE
    ),
    "CR in a value": Case(
        OK + b"X: a\rb\r\n\r\n", "stall", 502, FailureReason.BAD_RESPONSE
    ),
    "no colon": Case(OK + b"X\r\n\r\n", "stall", 502, FailureReason.BAD_RESPONSE),
    "a huge head": Case(
        OK + b"X: a\r\n" * 9_000, "stall", 502, FailureReason.BAD_RESPONSE
    ),
    "101 unasked": Case(
        b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "stall",
        502,
        FailureReason.BAD_RESPONSE,
    ),
}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        pytest.param(name, path, id=f"{name}-{label}")
        for name in CASES
        for path, label in ((FAST, "fast"), (SLOW, "slow"))
    ],
)
async def test_what_the_client_is_told(
    name: str, path: PathRequest, caplog: pytest.LogCaptureFixture
) -> None:
    case = CASES[name]
    script = answering(case.data, then=case.then)
    late = case.condition in (FailureReason.RESPONSE_TIMEOUT, FailureReason.STALLED)
    limits = IMPATIENT if late else PATIENT
    async with watched(script, caplog, limits) as one, connected(one.proxy) as client:
        await ask(client, path)
        raw = await until_final(client)
        assert raw[9:12] == b"%d" % case.status
        assert looks_whole(raw) is (case.whole and case.condition is None)
        await trio.aclose_forcefully(client.stream)
        await one.wait_settled()
        status, failure = one.books.last
        assert status == case.status
        assert (failure and failure.condition) is case.condition


async def until_final(client: RawClient) -> bytes:
    """Read the final response: all there is of it, or the head of a 502 or 504."""
    head = await client.head()
    while head.startswith(b"HTTP/1.1 1"):
        head = await client.head()
    if head[9:12] in (b"502", b"504"):
        assert b"\r\nContent-Length: " in head
        return head
    client.buffer = head + b"\r\n\r\n" + client.buffer
    while not looks_whole(client.buffer):
        try:
            await client._more()
        except (AssertionError, trio.BrokenResourceError):  # closed
            break
    return client.buffer


def looks_whole(raw: bytes) -> bool:
    """Tell whether a client takes it for a complete response that went well."""
    head, _, body = raw.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        return False
    if b"\r\nTransfer-Encoding: chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    for line in head.split(b"\r\n"):
        if line.startswith(b"Content-Length: "):
            return len(body) == int(line[16:])
    return True


# === bodies where there are none, and more than was said ===


@paths
@pytest.mark.parametrize(
    ("method", "data", "told"),
    [
        (b"HEAD", OK + b"Content-Length: 3\r\n\r\nabc", b""),
        (b"GET", b"HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\nabc", b""),
        (b"GET", b"HTTP/1.1 304 Not\r\nContent-Length: 3\r\n\r\nabc", b""),
        (
            b"GET",
            b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"",
        ),
        (b"GET", OK + b"Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\nevil", b"ok"),
        (b"GET", OK + b"Content-Length: 2\r\n\r\nok\r\n", b"ok"),
        (b"GET", CHUNKED + b"2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\nevil", b"ok"),
    ],
    ids=[
        "HEAD",
        "204",
        "304",
        "204 in chunks",
        "two responses",
        "a line more",
        "after chunks",
    ],
)
async def test_what_is_too_much_goes_to_nobody(
    method: bytes,
    data: bytes,
    told: bytes,
    path: PathRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with watched(answering(data, then="stall"), caplog, PATIENT) as one:
        async with connected(one.proxy) as client:
            for _ in range(3):
                await client.send(method + path[0][3:] + path[1])
                head = await client.head()
                assert head[9:12] in (b"200", b"204", b"304")
                if b"chunked" in head and told:
                    assert await client.until(b"\r\n0\r\n\r\n") == b"2\r\n" + told
                else:
                    assert await client.exactly(len(told)) == told
            await trio.testing.wait_all_tasks_blocked(0.005)
            assert client.buffer == b""
        await one.wait_settled()
        assert one.fake.connections == 3
        assert not one.upstream.open


async def test_bytes_on_an_idle_connection_end_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    go = trio.Event()

    async def script(asked: ReceivedRequest) -> None:
        await asked.response(b"ok")
        await go.wait()
        await asked.stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

    async with watched(script, caplog, PATIENT) as one, connected(one.proxy) as client:
        assert (await client.ask())[1] == b"ok"
        go.set()
        await trio.testing.wait_all_tasks_blocked(0.005)
        assert (await client.ask())[1] == b"ok"
        assert one.fake.connections == 2


# === before its time, and without an end ===


@pytest.mark.parametrize("size", [9, 5_000_000], ids=["little", "much"])
@pytest.mark.parametrize("then", ["stall", "close", "reset"])
async def test_a_response_before_the_upload_is_over(
    size: int, then: str, caplog: pytest.LogCaptureFixture
) -> None:
    no = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"

    async def early(stream: trio.SocketStream) -> None:
        buffer = b""
        while b"\r\n\r\n" not in buffer:
            buffer += await stream.receive_some()
        await answering(no, then=then)(ReceivedRequest(b"", b"", stream, 1))

    async with watched(answering(b""), caplog, PATIENT) as one:
        one.fake.raw = early  # it reads no body
        async with connected(one.proxy) as client:
            begin = b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            await client.send(begin + b"%x\r\n" % (size + 1))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_upload, client, size)
                response = await client.to_end()
                nursery.cancel_scope.cancel()
        if then != "reset" or response:  # a reset may overtake what was sent before it
            assert response.startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 502 "))


async def _upload(client: RawClient, size: int) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        await client.send(b"x" * size)


@paths
async def test_a_flood_of_interim_responses_ends(
    path: PathRequest, caplog: pytest.LogCaptureFixture
) -> None:
    async def flood(asked: ReceivedRequest) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            while True:
                await asked.stream.send_all(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)

    async with watched(flood, caplog, PATIENT) as one, connected(one.proxy) as client:
        await ask(client, path)
        assert (await until_final(client)).startswith(b"HTTP/1.1 502 ")


async def test_interim_responses_that_drip_keep_no_request_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def drip(asked: ReceivedRequest) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            while True:
                await asked.stream.send_all(b"HTTP/1.1 102 Processing\r\n\r\n")
                await trio.sleep(0.01)

    async with watched(drip, caplog, PATIENT) as one, connected(one.proxy) as client:
        await ask(client, FAST)
        with trio.fail_after(20):
            assert (await until_final(client)).startswith(
                (b"HTTP/1.1 502 ", b"HTTP/1.1 504 ")
            )


async def test_an_upstream_that_never_reads_is_given_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def deaf(stream: trio.SocketStream) -> None:
        with trio.move_on_after(3):
            await trio.sleep_forever()
        await trio.aclose_forcefully(stream)

    async with watched(answering(b""), caplog, IMPATIENT) as one:
        one.fake.raw = deaf
        async with connected(one.proxy) as client:
            size = 50_000_000
            head = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size
            async with trio.open_nursery() as nursery:
                await client.send(head)
                nursery.start_soon(_upload, client, size)
                assert (await client.head()).startswith(b"HTTP/1.1 504 ")
                nursery.cancel_scope.cancel()


@pytest.mark.parametrize("then", ["close", "reset"])
async def test_a_tunnel_ends_with_its_upstream(
    then: str, caplog: pytest.LogCaptureFixture
) -> None:
    switch = (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\n\r\nhello"
    )
    async with watched(answering(switch, then=then), caplog, PATIENT) as one:
        async with connected(one.proxy) as client:
            await client.send(
                b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"
                b"Upgrade: websocket\r\n\r\n"
            )
            await client.until(b"hello")
            assert await client.to_end() == b""


async def test_every_fault_of_many_leaves_the_pool_usable(
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults = iter([*CASES.values()] * 2)

    async def script(asked: ReceivedRequest) -> None:
        if asked.path == b"/good":
            await asked.response(b"good")
            return
        case = next(faults)
        if case.then == "stall":
            case = attrs.evolve(case, then="close")
        await answering(case.data, then=case.then)(asked)

    async with watched(script, caplog, PATIENT) as one:
        async with trio.open_nursery() as nursery:
            for _ in CASES:
                nursery.start_soon(_one_bad_one_good, one)


async def _one_bad_one_good(one: Watched) -> None:
    async with connected(one.proxy) as client:
        await client.send(FAST[0])
        with contextlib.suppress(AssertionError):
            await until_final(client)
    async with connected(one.proxy) as client:
        assert (await client.ask(b"/good"))[1] == b"good"


async def test_without_descriptors_it_is_not_the_upstreams_fault(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    async with watched(answering(b""), caplog, PATIENT) as one:
        async with connected(one.proxy) as client:
            monkeypatch.setattr("http_trio.net.connect.open_socket", none_left)
            assert (await client.ask())[0].startswith(b"HTTP/1.1 503 ")
        await one.wait_settled()
        failure = one.books.last[1]
        assert failure is not None
        assert failure.condition is FailureReason.FULL
