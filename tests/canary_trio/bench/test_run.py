"""A measurement from URLs on: TLS, HTTP/2, and what cannot be measured."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from canary_trio.bench.conditions import read_condition
from canary_trio.bench.plan import BenchRequest, LoadPlan, read_target
from canary_trio.bench.run import BenchOptions, NotMeasured, measure
from http_trio import BadCertificate, Exchange, Response, Tls, serve
from http_trio.testing.ports import free_port
from tests.http_trio.support.certificates import Authority

SHORT = LoadPlan(rate=100, seconds=0.2, warm_up_s=0.05)


@pytest.fixture(name="authority")
def _authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def responding(tls: Tls | None = None, status: int = 200) -> AsyncIterator[str]:
    """Give the address of a server of ours, which speaks both versions of HTTP."""

    def handler(exchange: Exchange) -> None:
        exchange.respond(Response(status, b"ok"))

    bind = ["127.0.0.1:0"]
    binds, h2c = (bind, []) if tls else ([], bind)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(serve, handler, binds, tls=tls, h2c_binds=h2c)
        )
        with trio.fail_after(30):
            yield server.addresses[0]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
async def test_two_urls_are_measured_in_what_they_speak(
    secure: bool, http2: bool, authority: Authority
) -> None:
    tls = Tls(*authority.issue()) if secure else None
    async with responding(tls) as at:
        scheme = "https" if secure else "http"
        targets = [read_target(f"{scheme}://{at}/{name}") for name in "ab"]
        options = BenchOptions(http2=http2, ca_file=str(authority.ca_file))

        found = await measure(
            targets,
            BenchRequest("POST", body=b"hello"),
            SHORT,
            options,
            conditions=[read_condition("errors>50%")],
        )

    assert [dict(one.statuses) for one in found.results] == [{200: 20}, {200: 20}]
    assert found.urls == tuple(target.url for target in targets)
    assert found.http2 is http2
    assert found.cost.cpu_s > 0


async def test_errors_of_a_server_are_figures() -> None:
    async with responding(status=500) as at:
        found = await measure([read_target(f"http://{at}/")], BenchRequest(), SHORT)

    assert dict(found.results[0].failures) == {"5xx": 20}


@pytest.mark.parametrize(
    ("url", "says"),
    [
        pytest.param("http://127.0.0.1:{closed}/", "refused", id="nobody is there"),
        pytest.param("http://no.such.name.invalid/", "does not resolve", id="no name"),
        pytest.param("http://{tls}/", "reset|bad response", id="no TLS where there is"),
        pytest.param("https://{plain}/", "untrusted", id="TLS where there is none"),
        pytest.param("https://{tls}/", "untrusted: .*--ca-file", id="not trusted"),
    ],
)
async def test_what_gives_no_response_is_said_before_anything_is_measured(
    url: str, says: str, authority: Authority
) -> None:
    tls = Tls(*authority.issue(), http2=False)
    async with responding(tls) as secure, responding() as plain:
        where = url.format(closed=free_port(), tls=secure, plain=plain)
        with pytest.raises(NotMeasured, match=says):
            await measure([read_target(where)], BenchRequest(), SHORT)


async def test_a_certificate_need_not_be_trusted(authority: Authority) -> None:
    tls = Tls(*authority.issue())
    async with responding(tls) as at:
        target = read_target(f"https://{at}/")
        options = BenchOptions(verify=False)
        found = await measure([target], BenchRequest(), SHORT, options)

    assert found.results[0].errors == 0


async def test_authorities_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    options = BenchOptions(ca_file=str(tmp_path / "none"))
    with pytest.raises(BadCertificate, match="none"):
        await measure([read_target("https://a/")], BenchRequest(), SHORT, options)


async def test_http2_is_not_presumed(authority: Authority) -> None:
    tls = Tls(*authority.issue(), http2=False)
    async with responding(tls) as at:
        options = BenchOptions(http2=True, ca_file=str(authority.ca_file))
        target = read_target(f"https://{at}/")
        with pytest.raises(NotMeasured, match="without --http2"):
            await measure([target], BenchRequest(), SHORT, options)
