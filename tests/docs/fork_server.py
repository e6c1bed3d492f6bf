"""Runs `canary` and `kv-trio` without starting Python for each: by a fork that has all imported.

A page has dozens of commands, and half of the time of each would go by before it does
anything. So `Commands` starts one process that imports everything, and puts two small programs
on the path, which hand their arguments, directory, environment and standard streams to a
fork of it. What runs is the same code from the same door (`canary_health.commands`), as a
process of its own. A signal to the small program is passed on; its end ends the other.
"""

from __future__ import annotations

import array
import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

ASKS = r"""#!{python} -IS
import array, json, os, signal, socket, sys
sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
sock.connect({path!r})
what = json.dumps([[os.path.basename(sys.argv[0]), *sys.argv[1:]], os.getcwd(), dict(os.environ)]).encode()
fds = array.array("i", [0, 1, 2]).tobytes()
sock.sendmsg([len(what).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
sock.sendall(what)
def pass_on(number, frame):
    sock.sendall(bytes([number]))
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, pass_on)
sys.exit(int.from_bytes(sock.recv(1), "big"))
"""

PRELOADED = """
    canary_health.commands canary_trio.command.cli.main kv_trio.cli.main kv_trio.serving
    canary_trio.serving.proxy canary_trio.command.process.serve_process httpx rich.live
    kv_trio.cli.serve canary_trio.command.cli.rollout.group
    canary_trio.command.cli.watching.watch canary_trio.command.cli.views.status
    canary_trio.console.listener
"""


@contextlib.contextmanager
def commands(directory: Path) -> Iterator[Path]:
    """Give a directory with `canary` and `kv-trio`, to be put on the path."""
    path = directory / "fork.sock"
    ready, ready_end = os.pipe()
    lives, lives_end = os.pipe()  # whose end tells it that nobody needs it
    server = subprocess.Popen(
        [sys.executable, __file__, str(path), str(ready_end), str(lives)],
        pass_fds=[ready_end, lives],
        start_new_session=True,
    )
    os.close(ready_end)
    os.close(lives)
    try:
        assert os.read(ready, 1) == b"1", "the fork server has not begun"
        programs = directory / "bin"
        programs.mkdir()
        for name in ("canary", "kv-trio"):
            program = programs / name
            python = os.path.realpath(sys.executable)
            program.write_text(
                ASKS.replace("{python}", python).replace("{path!r}", repr(str(path)))
            )
            program.chmod(0o755)
        yield programs
    finally:
        os.close(ready)
        os.close(lives_end)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


# === in the process that forks ===


def main(path: str, ready: int, lives: int) -> None:
    """Import all, listen, and fork for each that comes, until killed, or alone."""
    import importlib  # noqa: PLC0415

    for module in PRELOADED.split():
        importlib.import_module(module)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(64)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.write(ready, b"1")
    os.close(ready)
    watched: list[int] = [listener.fileno(), lives]
    while True:
        if lives in select.select(watched, [], [])[0]:
            os.killpg(0, signal.SIGKILL)  # with all that it forked
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os._exit(_attend(connection))
        connection.close()


def _attend(connection: socket.socket) -> int:
    """Fork once more, pass signals on, and tell how it ended."""
    size, ancillary, _, _ = connection.recvmsg(4, socket.CMSG_SPACE(12))
    if not ancillary:  # it was killed before it said what it wants
        return 0
    fds = array.array("i", ancillary[0][2])
    what = b""
    while len(what) < int.from_bytes(size, "big"):
        what += connection.recv(65536)
    child = os.fork()
    if child == 0:
        connection.close()
        _become(list(fds), *json.loads(what))
    for fd in fds:
        os.close(fd)
    ended = os.pidfd_open(child)
    while True:
        watched: list[int] = [connection.fileno(), ended]
        readable, _, _ = select.select(watched, [], [])
        if ended in readable:
            _, status = os.waitpid(child, 0)
            with contextlib.suppress(OSError):
                connection.sendall(bytes([os.waitstatus_to_exitcode(status) % 256]))
            return 0
        number = connection.recv(1)
        os.kill(child, number[0] if number else signal.SIGKILL)


def _become(
    fds: list[int], words: list[str], directory: str, environment: dict[str, str]
) -> NoReturn:
    from canary_health import commands as doors  # noqa: PLC0415

    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
    status = 1
    try:
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = words
        doors.make_quick = lambda: None  # all is imported already, spared or not
        {"canary": doors.canary, "kv-trio": doors.kv_trio}[words[0]]()
        status = 0
    except SystemExit as exc:
        if isinstance(exc.code, str):
            print(exc.code, file=sys.stderr)
        status = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
