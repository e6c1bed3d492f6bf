"""Our own responses, as bytes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from http_trio.http1.response import Response, _Clock, error_response


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The time that responses are dated by, to be set."""
    now = [1_000_000_000.0]
    monkeypatch.setattr("http_trio.http1.response._now", lambda: now[0])
    yield now
    monkeypatch.undo()
    _Clock.second = -1


def test_a_kept_response_is_sent_with_a_fresh_date(clock: list[float]) -> None:
    response = Response(429, b"too many")
    sent = [response.render(), response.render(connection=b"close")]
    clock[0] += 61
    sent += [response.render(connection=b"close"), response.render()]

    dates = [one.split(b"\r\n")[1] for one in sent]
    assert dates[:2] == [b"Date: Sun, 09 Sep 2001 01:46:40 GMT"] * 2
    assert dates[2:] == [b"Date: Sun, 09 Sep 2001 01:47:41 GMT"] * 2
    assert all(one.count(b"Date: ") == 1 for one in sent)


@pytest.mark.usefixtures("clock")
def test_a_whole_response_is_rendered_once_a_second() -> None:
    response = Response(200, b"hello", headers=((b"X-A", b"1"),))

    first = response.render()

    assert first is response.render()
    head, _, body = first.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert b"X-A: 1" in lines
    assert b"Content-Length: 5" in lines
    assert any(line.startswith(b"Date: ") for line in lines)
    assert body == b"hello"


def test_head_gets_the_length_and_no_body() -> None:
    rendered = Response(200, b"hello").render(for_head=True)

    assert rendered.endswith(b"Content-Length: 5\r\n\r\n")


def test_204_has_neither_length_nor_body() -> None:
    rendered = Response(204, b"ignored").render()

    assert b"Content-" not in rendered
    assert rendered.endswith(b"\r\n\r\n")


def test_an_error_says_why_and_when_to_come_back() -> None:
    rendered = error_response(503, "full", retry_after_s=2).render(connection=b"close")

    assert b"\r\nRetry-After: 2\r\n" in rendered
    assert b"\r\nConnection: close\r\n" in rendered
    assert rendered.endswith(b"503 Service Unavailable: full\n")
