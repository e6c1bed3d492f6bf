"""What a service manager hands down, and what it is told."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

import pytest

from http_trio import BadBind
from http_trio.net.bind import InheritedListener
from http_trio.net.process import service_manager
from http_trio.net.process.service_manager import ServiceManager, inherited_listeners


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_it_is_told_how_a_service_stands(tmp_path: Path, *, abstract: bool) -> None:
    address = f"@{secrets.token_hex(8)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(address.replace("@", "\0"))
        environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2500000", "A": "b"}
        manager = ServiceManager.take(environ)
        assert environ == {"A": "b"}
        assert manager.watchdog_s == 2.5

        manager.ready("revision 7\nis live")
        assert heard.recv(4096) == b"READY=1\nSTATUS=revision 7 is live"
        manager.status("x" * 1000)
        assert heard.recv(4096) == b"STATUS=" + b"x" * 500
        manager.alive()
        assert heard.recv(4096) == b"WATCHDOG=1"
        manager.reloading()
        assert heard.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        manager.stopping("draining")
        assert heard.recv(4096) == b"STOPPING=1\nSTATUS=draining"
    manager.alive()  # nobody hears, and nothing happens


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": "", "WATCHDOG_USEC": "1000000"},
        {"NOTIFY_SOCKET": "vsock:2:1"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"},
    ],
)
def test_a_watchdog_that_is_not_ours_is_none(environ: dict[str, str]) -> None:
    manager = ServiceManager.take(environ)
    assert manager.watchdog_s == 0
    manager.ready("nobody hears")


def environ_of(count: object, names: str = "") -> dict[str, str]:
    return {
        "LISTEN_FDS": str(count),
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDNAMES": names,
    }


def handed_down(
    sockets: list[socket.socket], names: str, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, InheritedListener]]:
    """Take copies of sockets as if they had been handed down."""
    copies = [os.dup(sock.fileno()) for sock in sockets]
    first = min(copies)
    assert copies == list(range(first, first + len(copies))), "no gaps between them"
    monkeypatch.setattr(service_manager, "FIRST_FD", first)
    return inherited_listeners(environ_of(len(copies), names))


def test_sockets_are_taken_with_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as two,
    ):
        found = handed_down([one, two], "http", monkeypatch)
        assert [name for name, _ in found] == ["http", ""]
        for (_, sock), given in zip(found, (one, two), strict=True):
            with sock:
                assert sock.getsockname() == given.getsockname()
                assert not os.get_inheritable(sock.fileno())
                assert not sock.getblocking()


def test_what_was_handed_to_another_process_is_not_ours() -> None:
    environ = {"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "http"}
    assert inherited_listeners(environ) == []
    assert environ == {}, "nor is it for who is started from here"
    assert inherited_listeners({}) == []


@pytest.mark.parametrize("kind", ["datagram", "unheard", "file", "connected"])
def test_what_does_not_listen_is_refused_with_words(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    left, right = socket.socketpair()
    with (
        left,
        right,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
        socket.socket(socket.AF_INET) as unheard,
        (tmp_path / "file").open("wb") as file,
    ):
        numbers = {"datagram": datagram, "unheard": unheard, "connected": left}
        number = file.fileno() if kind == "file" else numbers[kind].fileno()
        monkeypatch.setattr(service_manager, "FIRST_FD", number)
        with pytest.raises(BadBind, match=r"LISTEN_FDS.*expected a TCP or Unix socket"):
            inherited_listeners(environ_of(1))


def test_a_count_beyond_reason_is_refused() -> None:
    with pytest.raises(BadBind, match="expected at most 256"):
        inherited_listeners(environ_of(10**6))
