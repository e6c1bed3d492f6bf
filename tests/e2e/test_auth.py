"""Who asks, with real processes: a file of users, and a server that is asked."""

from __future__ import annotations

import base64
import signal
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from canary_trio.proxy.auth.password_file import delete_user, set_password
from http_trio.testing.peers import ReceivedRequest, fake_upstream
from tests.e2e.processes import connected_to, run, world


def _basic(user: str, password: str) -> bytes:
    given = base64.b64encode(f"{user}:{password}".encode())
    return b"Authorization: Basic " + given


async def _status(address: str, *lines: bytes) -> bytes:
    async with connected_to(address) as client:
        return (await client.ask(b"/", *lines))[0].split(b" ")[1]


async def test_users_of_a_file_pass_and_a_signal_takes_up_others(
    tmp_path: Path,
) -> None:
    users = tmp_path / "users"
    users.mkdir()
    await run("canary", "passwd", users / "staff", "ann", "--stdin", stdin=b"one\n")
    assert (users / "staff").stat().st_mode & 0o777 == 0o600
    async with world(tmp_path) as here:
        proxy, address = await here.start_proxy(
            *("--passwords", users), access={"basic_auth": {"file": "staff"}}
        )
        assert await _status(address) == b"401"
        assert await _status(address, _basic("ann", "two")) == b"401"
        assert await _status(address, _basic("ann", "one")) == b"200"

        set_password(users / "staff", "bob", "two")
        delete_user(users / "staff", "ann")
        proxy.process.send_signal(signal.SIGHUP)
        await proxy.says(r"took up \S+staff: 1 users")
        assert await _status(address, _basic("ann", "one")) == b"401"
        assert await _status(address, _basic("bob", "two")) == b"200"


async def test_a_server_is_asked_and_what_it_says_holds(tmp_path: Path) -> None:
    async def by_cookie(asked: ReceivedRequest) -> None:
        if b"\r\nCookie: s=1" in asked.head:
            await asked.response(b"", b"Remote-User: ann")
        else:
            await asked.stream.send_all(
                b"HTTP/1.1 302 Found\r\nLocation: https://login/\r\nContent-Length: 0\r\n\r\n"
            )

    async with fake_upstream(by_cookie) as auth, world(tmp_path) as here:
        url = f"http://127.0.0.1:{auth.port}/verify"
        proxy, address = await here.start_proxy(
            access={"forward_auth": {"url": url, "cache": {"time": 60}}}
        )
        assert await _status(address) == b"302"
        for _ in range(2):
            assert await _status(address, b"Cookie: s=1") == b"200"
        assert [one.path for one in auth.asked] == [b"/verify"] * 2

        admin = (await proxy.says(r"admin on ([\d.:]+)"))[1]
        async with connected_to(admin) as client:
            metrics = (await client.ask(b"/metrics"))[1].decode()
        asked = {"service": "web", "check": "forward_auth"}
        found = {
            (sample.labels.get("outcome"), sample.value)
            for family in text_string_to_metric_families(metrics)
            for sample in family.samples
            if sample.name.startswith("canary_auth_")
            and asked.items() <= sample.labels.items()
        }
        assert found == {("denied", 1), ("granted", 2), (None, 2)}
