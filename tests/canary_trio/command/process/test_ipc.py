"""What a supervisor and a worker say to each other arrives as it was sent."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from canary_health.process_log import LogForm
from canary_trio.command.process.ipc import (
    News,
    WorkerOptions,
    read_news,
    read_options,
    write_news,
    write_options,
)
from canary_trio.command.process.log_options import LogOptions
from canary_trio.serving.options import ProxyOptions
from canary_trio.telemetry.access_log_format import LineForm
from http_trio import Limits, Tls

OPTIONS = WorkerOptions(
    "web",
    ProxyOptions(
        binds=["127.0.0.1:80", "unix:/run/a"],
        tls=Tls(Path("cert.pem"), Path("key.pem")),
        tls_binds=["127.0.0.1:443"],
        bootstrap=b"{}",
        limits=Limits(),
        proxy_id="edge.1",
    ),
    LogOptions(
        form=LogForm.JSON, access_log=Path("a.log"), access_log_form=LineForm.TEXT
    ),
    {"unix:/run/a": 7},
)


class Trickle(io.BytesIO):
    """Gives a byte at a time, as a socket may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 1))


def test_options_arrive_whole_however_the_socket_cuts_them() -> None:
    told = read_options(Trickle(write_options(OPTIONS)))

    assert told.options.tls is not None
    assert told.options.tls.cert == Path("cert.pem")
    for name in ("binds", "tls_binds", "bootstrap", "limits", "proxy_id"):
        assert getattr(told.options, name) == getattr(OPTIONS.options, name)
    assert (told.service, told.logs, told.sockets) == (
        *("web", OPTIONS.logs, OPTIONS.sockets),
    )


def test_options_that_end_early_say_that_the_supervisor_is_gone() -> None:
    data = write_options(OPTIONS)
    for size in (0, 3, 4, len(data) - 1):
        with pytest.raises(EOFError):
            read_options(io.BytesIO(data[:size]))


@pytest.mark.parametrize(
    "news",
    [
        News(listening="127.0.0.1:80"),
        News(live=0),
        News(failed='a "reason"\nof two lines'),
        News(),
    ],
)
def test_news_are_one_line_each(news: News) -> None:
    line = write_news(news)
    assert line.count(b"\n") == 1
    assert read_news(line.rstrip(b"\n")) == news
