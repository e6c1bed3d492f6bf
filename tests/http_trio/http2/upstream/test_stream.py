"""One stream to a server, by itself: what becomes of it when nothing is told."""

from __future__ import annotations

from typing import Any
from unittest.mock import create_autospec

import h2.config
import h2.connection
import h2.settings

from http_trio.http2.session import Http2Events, Http2Session
from http_trio.http2.upstream.stream import END_S, UpstreamStream
from http_trio.http2.upstream.stream_table import _settings
from http_trio.limits import BUFFER, Limits

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Owner:
    """A connection to a server that lets no stream begin any more."""

    name, scheme, now = "a", b"http", 100.0

    def __init__(self) -> None:
        events: Any = create_autospec(Http2Events, instance=True)
        self.session = Http2Session(events, _settings(Limits()), is_client=True)
        server = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False)
        )
        server.initiate_connection()
        none: dict[Any, int] = {int(h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS): 0}
        server.update_settings(none)
        self.session.output(BUFFER)
        self.session.receive(server.data_to_send())
        self.session.output(BUFFER)
        self.forgotten: list[object] = []

    def forget(self, stream: object) -> None:
        self.forgotten.append(stream)

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def test_what_is_never_sent_is_let_go_of_though_its_reset_is_not_told() -> None:
    owner: Any = Owner()
    stream = UpstreamStream(owner, Limits())
    stream.place()
    stream.take(HEAD)
    assert owner.session.output(BUFFER) == b""
    stream.close()
    assert owner.session.output(BUFFER) == b""
    assert stream.deadline == owner.now + END_S
    assert not owner.forgotten
    stream.expire()
    assert owner.forgotten == [stream]
