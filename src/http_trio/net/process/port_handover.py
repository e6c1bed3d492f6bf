"""A TCP port that several processes listen on, and how one of them leaves without a loss.

With SO_REUSEPORT the kernel gives each listener a part of the new connections and a queue
of its own. When a listener is closed, what is in its queue is reset, and so is each
handshake that had begun (unless `net.ipv4.tcp_migrate_req` is 1, since Linux 5.14). So who
leaves sees to it that nothing new comes, lets the handshakes end, takes what is in the
queue, and closes then. The rule that it obeys: no client is refused while anybody listens.

That nothing new comes is had in two ways. Listeners have numbers in the order in which
they began, and a program of two instructions may choose among them (`SO_ATTACH_REUSEPORT_
CBPF`, socket(7)): where there are two, and the other one came after us, ours is number 0,
and all goes to number 1. Where there are more, the first packet of each handshake that
comes to us is dropped; its client sends it again a second later, and finds another one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

HANDSHAKE_S = 0.2
"""How long handshakes that have begun have to end, before a shared port is left."""

_ATTACH_FILTER = 26
_ATTACH_REUSEPORT_CBPF = 51
_DETACH_REUSEPORT_BPF = 68
_LISTENING = "0A"  # in /proc/net/tcp

_Program = Sequence[tuple[int, int, int, int]]
_TO_THE_SECOND: _Program = ((0x06, 0, 0, 1),)  # return 1
_NO_FIRST_PACKET: _Program = (
    (0x30, 0, 0, 13),  # load the byte of the flags
    (0x54, 0, 0, 0x12),  # of which SYN and ACK count
    (0x15, 0, 1, 0x02),  # SYN alone begins a handshake
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # take all else
)


class PortHandover:
    """What one listener knows of the others on its port."""

    def __init__(self, sock: socket.socket) -> None:
        """Begin to share: what an earlier one left behind shall not steer us.

        Args:
            sock: listens already.
        """
        self._sock = sock
        self._before = others_on_port(sock)
        if is_shared(sock):
            with contextlib.suppress(OSError):  # there was none, most often
                sock.setsockopt(socket.SOL_SOCKET, _DETACH_REUSEPORT_BPF, 0)

    def __repr__(self) -> str:
        return f"<PortHandover before={len(self._before)}>"

    def lead_away(self) -> bool:
        """Let new clients go to others that listen here; False where nobody does."""
        others = others_on_port(self._sock)
        if not others:
            return False
        with contextlib.suppress(OSError):  # such as: no such thing in this kernel
            if len(others) == 1 and not others & self._before:
                _attach(self._sock, _ATTACH_REUSEPORT_CBPF, _TO_THE_SECOND)
            else:
                _attach(self._sock, _ATTACH_FILTER, _NO_FIRST_PACKET)
        return True


def is_shared(sock: socket.socket) -> bool:
    """Tell whether others may listen on the TCP port of a socket."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))


def others_on_port(sock: socket.socket) -> frozenset[str]:
    """Give the other sockets that listen on the address and TCP port of a socket.

    They are inode numbers. Where the system does not tell, there are none.
    """
    if not is_shared(sock):
        return frozenset()
    host, port = sock.getsockname()[:2]
    packed = socket.inet_pton(sock.family, host.partition("%")[0])
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    local = "".join(f"{word:08X}" for word in words) + f":{port:04X}"
    own, found = str(os.fstat(sock.fileno()).st_ino), set()
    table = "tcp" if sock.family == socket.AF_INET else "tcp6"
    with contextlib.suppress(OSError), Path(f"/proc/self/net/{table}").open() as rows:
        next(rows)
        for row in rows:
            fields = row.split()
            if fields[3] != _LISTENING:
                break  # those that listen come first
            if fields[1] == local and fields[9] != own:
                found.add(fields[9])
    return frozenset(found)


def _attach(sock: socket.socket, option: int, program: _Program) -> None:
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    value = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, option, value)
