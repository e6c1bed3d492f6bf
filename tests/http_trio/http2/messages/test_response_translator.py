"""A response that is sent in one piece arrives as one that is sent in several."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import example, given
from hypothesis import strategies as st

from http_trio import Limits
from http_trio.http2.session import Http2Session, Http2Settings
from http_trio.http2.stream import Http2Stream

SETTINGS = Http2Settings.for_clients(Limits())
STATUSES = st.sampled_from(
    [b"200 OK", b"204 No Content", b"304 Not Modified", b"404 No"]
)
LINES = st.lists(
    st.sampled_from(
        [b"Server: a", b"X-A: b\tc", b"Connection: close", b"Set-Cookie: a=b"]
    )
)


class Told:
    """What one side's session tells: heads, content, and whether it ended cleanly."""

    def __init__(self) -> None:
        self.heads: list[Any] = []
        self.content = b""
        self.ends: list[object] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None  # the rest is of no matter

    def head_received(
        self, stream_id: int, fields: Any, *, ended: bool = False
    ) -> None:
        self.heads.append(fields)
        self.ends += [True] if ended else []

    interim_received = trailers_received = head_received

    def data_received(self, stream_id: int, data: bytes, *, ended: bool) -> None:
        self.content += data
        self.ends += [True] if ended else []

    def stream_closed(self, stream_id: int, code: int) -> None:
        self.ends.append(code)


def arrives(send: Callable[[Http2Stream], None], method: bytes) -> Told:
    """Give what a client is told of the response that is sent so."""
    told = Told()
    client = Http2Session(cast("Any", told), SETTINGS, is_client=True)
    server = Http2Session(cast("Any", Told()), SETTINGS, is_client=False)
    fields = [(b":method", method), (b":scheme", b"https"), (b":path", b"/")]
    stream_id = client.send_request([*fields, (b":authority", b"a")], ended=True)
    server.receive(client.output(65536))
    loop = SimpleNamespace(now=0.0, limits=Limits())
    owner: Any = SimpleNamespace(
        session=server, loop=loop, client_address="", said=None
    )
    owner.deadline, owner.wake = 0.0, lambda: None
    stream = Http2Stream(owner, stream_id)
    stream.ended, stream.is_head = True, method == b"HEAD"
    send(stream)
    client.receive(server.output(65536))
    return told


def case(**changes: object) -> example:
    usual = {"method": b"GET", "status": b"200 OK", "lines": [], "content": b"v1"}
    return example(**{**usual, "stated": 2, "early": False, **changes})


@given(
    method=st.sampled_from([b"GET", b"HEAD"]),
    status=STATUSES,
    lines=LINES,
    content=st.binary(max_size=40),
    stated=st.one_of(st.none(), st.integers(0, 45)),
    early=st.booleans(),
)
@case()
@case(stated=3)
@case(stated=None, early=True)
@case(early=True)
@case(method=b"HEAD")
@case(status=b"304 Not Modified", content=b"", stated=9)
@case(content=b"", stated=0)
def test_one_piece_arrives_as_several(
    method: bytes,
    status: bytes,
    lines: list[bytes],
    content: bytes,
    stated: int | None,
    *,
    early: bool,
) -> None:
    length = [] if stated is None else [b"Content-Length: %d" % stated]
    head = b"\r\n".join([b"HTTP/1.1 " + status, *lines, *length, b"\r\n"])
    if early:
        head = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + head

    def whole(stream: Http2Stream) -> None:
        stream.send_last(head + content, keep=True)

    def pieces(stream: Http2Stream) -> None:
        stream.write(head)
        stream.send_last(content, keep=True)

    assert vars(arrives(whole, method)) == vars(arrives(pieces, method))


def test_trailers_follow_a_response_in_one_piece() -> None:
    def send(stream: Http2Stream) -> None:
        stream.add_trailers(b"x-sum: 1\r\n")
        stream.send_last(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nv1", keep=True)

    told = arrives(send, b"GET")
    assert told.content == b"v1"
    assert told.heads[1:] == [((b"x-sum", b"1"),)]
