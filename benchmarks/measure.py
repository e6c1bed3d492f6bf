"""What is measured of one proxy, each in one short round."""

from __future__ import annotations

import gc
import re
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from benchmarks.peers import cpu_s, memory

_LOAD_CPU = "1"
_BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like"
    " Gecko) Chrome/120.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8",
    "Accept-Encoding": "gzip, deflate, br",
    "Accept-Language": "en-US,en;q=0.9",
    "Cookie": "session=abcdef0123456789abcdef0123456789; theme=dark",
    "Cache-Control": "max-age=0",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "none",
    "Upgrade-Insecure-Requests": "1",
}

_FRESH = """
local users = {%s}
local count = 0
request = function()
  count = count + 1
  local session = string.format("session=%%032x; theme=dark", count)
  wrk.headers["Cookie"] = session .. users[count %% #users + 1]
  return wrk.format("GET", "/items/" .. count .. "?page=" .. count %% 7)
end
"""


_UPLOAD = """
wrk.method = "POST"
wrk.body = string.rep("x", %d)
"""


@attrs.frozen
class Peer:
    """A proxy that runs.

    Attributes:
        name: of the row.
        port: where it listens.
        pid: its process, whose children count too.
        scheme: how it is spoken to.
        cookie: what a returning user's browser would send beside its own cookies.
        script: for wrk, by which each request's head is another one.
    """

    name: str
    port: int
    pid: int
    scheme: str = "http"
    cookie: str = ""
    script: Path | None = None

    @property
    def fields(self) -> Mapping[str, str]:
        """The header of a request: a browser's, of about 600 bytes."""
        cookies = "; ".join(filter(None, (_BROWSER["Cookie"], self.cookie)))
        return {**_BROWSER, "Cookie": cookies}

    @property
    def request(self) -> bytes:
        """The bytes of a request for `/`."""
        lines = [f"{name}: {value}\r\n" for name, value in self.fields.items()]
        host = f"Host: 127.0.0.1:{self.port}\r\n"
        return f"GET / HTTP/1.1\r\n{host}{''.join(lines)}\r\n".encode()


@attrs.frozen
class Load:
    """One round under wrk.

    Attributes:
        cpu_us: processor time of the proxy per request.
        rate: requests per second.
        bytes_rate: bytes of responses per second.
        busy: the share of the time in which the proxy used its processor. Well below
            one, something else was the bottleneck, and the rate says little of it.
    """

    cpu_us: float
    rate: float
    bytes_rate: float
    busy: float


def load(peer: Peer, connections: int, seconds: int, path: str = "/") -> Load:
    """Ask as fast as it goes.

    Raises:
        RuntimeError: a request failed; such a measurement is worth nothing.
    """
    words = ["taskset", "-c", _LOAD_CPU, "wrk", "-t1", f"-c{connections}"]
    words += [f"-d{seconds}s", f"{peer.scheme}://127.0.0.1:{peer.port}{path}"]
    for name, value in peer.fields.items():
        words += ["-H", f"{name}: {value}"]
    if peer.script is not None:
        words += ["-s", str(peer.script)]
    before, begun = cpu_s(peer.pid), time.monotonic()
    out = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    used, wall = cpu_s(peer.pid) - before, time.monotonic() - begun
    if "Non-2xx" in out or "Socket errors" in out:
        raise RuntimeError(f"{peer.name} failed requests:\n{out}")
    found = re.search(r"(\d+) requests in ([\d.]+)(m?)s, ([\d.]+)([KMG]?)B read", out)
    requests = int(found[1]) if found else 0
    if found is None or not requests:
        raise RuntimeError(f"{peer.name} answered nothing in {seconds} s:\n{out}")
    took = float(found[2])
    size = float(found[4]) * 1024.0 ** " KMG".index(found[5] or " ")
    return Load(used / requests * 1e6, requests / took, size / took, used / wall)


class Client:
    """One connection, over which one request after another is sent."""

    def __init__(self, port: int, request: bytes) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request

    def request(self) -> bytes:
        self._sock.sendall(self._request)
        response = b""
        while not response.endswith((b"\r\n\r\nv1", b"\r\n\r\nv2")):
            data = self._sock.recv(65536)
            if not data:
                raise RuntimeError(f"closed after {response!r}")
            response += data
        return response

    def times(self, count: int) -> list[float]:
        """Give the time of each of so many requests, in seconds."""
        found = []
        gc.disable()
        for _ in range(count):
            begun = time.perf_counter()
            self.request()
            found.append(time.perf_counter() - begun)
        gc.enable()
        return found

    def close(self) -> None:
        self._sock.close()


def cookie_of(peer: Peer, name: str) -> str:
    """Get the cookie that a new user is given, as a browser sends it back."""
    client = Client(peer.port, peer.request)
    response = client.request().decode("latin-1")
    client.close()
    found = re.search(rf"\r\nSet-Cookie: ({re.escape(name)}=[^;\r]*)", response)
    if found is None:
        raise RuntimeError(f"{peer.name} gave no cookie {name}:\n{response}")
    return found[1]


def fresh_heads(path: Path, cookies: Sequence[str]) -> Path:
    """Write a script by which each request has another path and another session.

    Args:
        path: where.
        cookies: those of returning users, taken in turn; empty for none.
    """
    users = ", ".join(f'"; {cookie}"' for cookie in cookies) or '""'
    path.write_text(_FRESH % users)
    return path


def upload(path: Path, size: int) -> Path:
    """Write a script by which each request has a body of so many bytes."""
    path.write_text(_UPLOAD % size)
    return path


def idle_memory(peer: Peer, connections: int) -> float:
    """Give the bytes of memory that a kept connection costs after its first response.

    The difference of resident memory over the connections, after a round that warmed
    the proxy up. What the kernel holds is not in it.
    """
    warm = [Client(peer.port, peer.request) for _ in range(32)]
    for client in warm * 20:
        client.request()
    before = memory(peer.pid)
    kept = []
    for _ in range(connections):
        client = Client(peer.port, peer.request)
        client.request()
        kept.append(client)
    after = memory(peer.pid)
    for client in (*warm, *kept):
        client.close()
    return (after - before) / connections
