"""What a supervisor and a worker speak, over the socket that is the worker's input.

The supervisor speaks first and once: how long the options are, then the options. The
worker then tells how far it is, one line of JSON for each step, and that it lives. Nothing
else is said; the socket's end says that the other one is gone.
"""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Mapping
from typing import BinaryIO

import attrs

from canary_trio.command.process.log_options import LogOptions
from canary_trio.serving.options import ProxyOptions

CANNOT_SERVE = 2
"""The exit status of a worker whose name another proxy has."""

_LENGTH = struct.Struct("!I")  # of the options, in bytes


@attrs.frozen
class WorkerOptions:
    """The options that a worker is started with.

    Attributes:
        service: the name of the service that it serves.
        number: of the worker.
        options: of its proxy.
        logs: what it logs.
        sockets: the descriptors that it inherits, by the address that each listens on.
        sign_s: seconds between two signs of life; 0 for none.
        cells: the descriptor of the memory by which all count requests together.
    """

    service: str
    options: ProxyOptions
    logs: LogOptions
    sockets: Mapping[str, int] = attrs.field(factory=dict)
    sign_s: float = 0.0
    cells: int | None = None
    number: int = 0

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All that it inherits."""
        cells = () if self.cells is None else (self.cells,)
        return (*self.sockets.values(), *cells)


@attrs.frozen
class News:
    """A message of a worker; what it does not mention is None.

    Attributes:
        waiting: whether its addresses are had, and a document is waited for.
        listening: the addresses that it listens on.
        live: the revision of the document that is live.
        failed: why it cannot serve.
        alive: True, as a sign of life.
    """

    waiting: bool | None = None
    listening: str | None = None
    live: int | None = None
    failed: str | None = None
    alive: bool | None = None


def write_options(options: WorkerOptions) -> bytes:
    """Give what a supervisor sends."""
    data = pickle.dumps(options)
    return _LENGTH.pack(len(data)) + data


def read_options(file: BinaryIO) -> WorkerOptions:
    """Read what a supervisor sent, from a file without a buffer.

    Raises:
        EOFError: the supervisor is gone.
    """
    (length,) = _LENGTH.unpack(_read_exactly(file, _LENGTH.size))
    options: WorkerOptions = pickle.loads(_read_exactly(file, length))  # noqa: S301  # ours
    return options


def write_news(news: News) -> bytes:
    r"""Give the line by which a worker tells something.

    >>> write_news(News(live=7))
    b'{"live": 7}\n'
    """
    known = {
        name: value for name, value in attrs.asdict(news).items() if value is not None
    }
    return json.dumps(known).encode() + b"\n"


def read_news(line: bytes) -> News:
    """Read a line of `write_news`, without its end.

    >>> read_news(b'{"live": 7}')
    News(waiting=None, listening=None, live=7, failed=None, alive=None)
    """
    return News(**json.loads(line))


def _read_exactly(file: BinaryIO, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = file.read(size - len(data))
        if not more:
            raise EOFError("the supervisor is gone")
        data += more
    return data
