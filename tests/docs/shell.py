"""A reader with a terminal: runs the commands of a page as they stand there.

One bash for each page, in an empty directory. Ports of the page (`127.0.0.1:8080`) are free ones
here, since somebody else may have those; the page's are put back into what is printed. The
defaults of `canary serve` and its like, which a page need not name, are mapped in the same way.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from http_trio.testing.ports import free_port
from tests.docs.pages import Block

PORTS = (*range(8080, 8100), 8443, *range(8500, 8510), *range(9001, 9010), 2379, 2380)
"""What pages may name."""

PATIENCE_S = 45.0
"""For one block; no page waits so long."""

DEFAULTS = r"""
trap 'kill -9 0' EXIT  # all that it started, where the one who types is gone
canary() {
  local words=" $* "
  case "$1" in
    serve)
      case "$words" in *" --bind "*|*" --tls-"*|*" --h2c-bind "*) ;; *) set -- "$@" --bind 127.0.0.1:8080;; esac
      case "$words" in *" --admin "*|*" --no-admin "*) ;; *) set -- "$@" --admin 127.0.0.1:8081;; esac;;
    health) [ $# -gt 1 ] || set -- health http://127.0.0.1:8081;;
    demo) set -- "$@" --bind 127.0.0.1:8080 --admin 127.0.0.1:8081 --store 127.0.0.1:8500;;
  esac
  command canary "$@"
}
kv-trio() {
  case "$1 $*" in
    serve*" --bind "*) ;;
    serve*) set -- "$@" --bind 127.0.0.1:8500;;
  esac
  command kv-trio "$@"
}
export CANARY_CONFIG_SERVER=http://127.0.0.1:8500
"""


class Failed(AssertionError):
    """A block did not do what its page says."""


def search_path() -> str:
    """Give where programs are, with a Consul that only the environment names."""
    consul = os.environ.get("CONSUL")
    here = [
        str(Path(sys.executable).parent),
        *([str(Path(consul).parent)] if consul else []),
    ]
    return ":".join([*here, os.environ["PATH"], "/usr/sbin"])


def which(program: str) -> str | None:
    """Give where a program is, if it is."""
    return shutil.which(program, path=search_path())


def follows(block: Block) -> bool:
    """Whether a block is something to do: a file to write, or commands to run."""
    return bool(block.title) or (
        block.language in ("sh", "console") and "not run" not in block.said
    )


@attrs.define(eq=False)
class Reader:
    """Who follows a page."""

    directory: Path
    path: str
    ports: dict[int, int] = attrs.field(factory=dict)
    lines: queue.Queue[str] = attrs.field(factory=queue.Queue)
    shell: subprocess.Popen[str] = attrs.field(init=False)
    listener: threading.Thread = attrs.field(init=False)
    logs: list[Path] = attrs.field(factory=list)

    def begin(self) -> None:
        """Start the shell."""
        kept = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("CANARY_", "KV_TRIO_", "CONSUL_"))
        }
        self.shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.directory,
            env={
                **kept,
                "PATH": f"{self.path}:{search_path()}",
                "HOME": str(self.directory),
                "COLUMNS": "100",
                "USER": "ann",
            },
            text=True,
            start_new_session=True,
        )
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()
        self._type(DEFAULTS)

    def end(self) -> None:
        """End the shell, and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.shell.pid, signal.SIGKILL)
        self.shell.wait()
        self.listener.join()
        for stream in (self.shell.stdin, self.shell.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def _listen(self) -> None:
        assert self.shell.stdout is not None
        for line in self.shell.stdout:
            self.lines.put(line)
        self.lines.put("")

    def follow(self, block: Block) -> str:
        """Do what a block says; give what was printed, with the ports of the page."""
        if block.title:
            file = self.directory / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self._here(block.text))
            return ""
        if "stays" in block.said:
            return self._leave(block)
        until = time.monotonic() + PATIENCE_S
        while True:
            printed, status = self.run(_commands(block), PATIENCE_S)
            if "until" not in block.said or block.said["until"] in printed:
                break
            if time.monotonic() > until:
                raise Failed(
                    f"{block.name}: no {block.said['until']!r} in:\n{printed}\n{self.told()}"
                )
            time.sleep(0.3)
        expected = int(block.said.get("status", "0"))
        if status != expected:
            raise Failed(
                f"{block.name}: status {status}, not {expected}\n{printed}\n{self.told()}"
            )
        return printed

    def _leave(self, block: Block) -> str:
        log = self.directory / f"log-{len(self.logs)}"
        self.logs.append(log)
        commands = block.text.rstrip().removesuffix("&")
        self._type(f"{{ {commands.strip()}\n}} >{log} 2>&1 </dev/null &\n")
        until = time.monotonic() + PATIENCE_S
        while not log.exists() or block.said["stays"] not in log.read_text():
            if time.monotonic() > until:
                raise Failed(f"{block.name}: no {block.said['stays']!r}\n{self.told()}")
            time.sleep(0.02)
        return log.read_text()

    def run(self, commands: str, patience_s: float) -> tuple[str, int]:
        """Type commands; give what they print, and the status of the last one."""
        self._type(f'{commands.rstrip()}\necho "@@end $?"\n')
        printed: list[str] = []
        until = time.monotonic() + patience_s
        while True:
            try:
                line = self.lines.get(timeout=max(0.01, until - time.monotonic()))
            except queue.Empty:
                raise Failed(
                    f"not over in time: {commands}\n{''.join(printed)}\n{self.told()}"
                ) from None
            if line == "":
                raise Failed(f"the shell has ended: {''.join(printed)}")
            text, mark, status = line.partition("@@end ")
            printed.append(text)
            if mark:
                return self._there("".join(printed)), int(status)

    def told(self) -> str:
        """Give what went on in the background, for who looks for the fault."""
        return "\n".join(
            f"--- {log.name}\n{log.read_text()[-1500:]}"
            for log in self.logs
            if log.exists()
        )

    def _type(self, text: str) -> None:
        assert self.shell.stdin is not None
        self.shell.stdin.write(self._here(text))
        self.shell.stdin.flush()

    def _here(self, text: str) -> str:
        return re.sub(r"(?<![\d.])(\d{4})(?!\d|\.\d)", self._port_here, text)

    def _port_here(self, match: re.Match[str]) -> str:
        port = int(match[1])
        if port not in PORTS:
            return match[1]
        if port not in self.ports:
            self.ports[port] = free_port()
        return str(self.ports[port])

    def _there(self, text: str) -> str:
        for port, here in self.ports.items():
            text = re.sub(rf"(?<!\d){here}(?!\d)", str(port), text)
        return text


def _commands(block: Block) -> str:
    if block.language != "console":
        return block.text
    lines = [line[2:] for line in block.text.splitlines() if line.startswith("$ ")]
    return "\n".join(lines)


@contextlib.contextmanager
def reader(directory: Path, path: str) -> Iterator[Reader]:
    """Give one in a directory, with our commands on the path."""
    one = Reader(directory, path)
    one.begin()
    try:
        yield one
    finally:
        one.end()


# === what is printed ===


def matches(expected: str, printed: str) -> bool:
    """Whether a page's output is what was printed, but for numbers, names and spaces.

    `...` in a line stands for anything. Lines may be left out of the page by a line `...`.
    """
    return re.search(_pattern(expected), _flat(printed), re.DOTALL) is not None


def _flat(text: str) -> str:
    return " ".join(text.split())


def _pattern(expected: str) -> str:
    words = []
    for word in _flat(expected).split(" "):
        escaped = re.escape(word).replace(re.escape("..."), ".*?")
        words.append(re.sub(r"\d+(?:\\\.\d+)?", r"\\d+(?:\\.\\d+)?", escaped))
    return r"\s*".join(words)


def expected_of(block: Block) -> str:
    """Give what a `console` block says that its commands print."""
    kept = []
    goes_on = False
    for line in block.text.splitlines():
        if line.startswith("$ ") or goes_on:
            goes_on = line.endswith("\\")
        else:
            kept.append(line)
    return "\n".join(kept)
