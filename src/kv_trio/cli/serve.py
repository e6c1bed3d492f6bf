"""`kv-trio serve`: options become values, and one process serves by them.

One file, since each option bears on the others. What takes long to import is imported inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from canary_health.durations import Duration
from kv_trio.cli.output import fail

if TYPE_CHECKING:
    from http_trio import ProcessLife
    from kv_trio.api.writing.audit_log import AuditLog
    from kv_trio.serving import KvServer

_log = logging.getLogger(__name__)

DEFAULT_BIND = "127.0.0.1:8500"

WAIT_S = 60.0
"""How long a server that may have a predecessor waits for it, by default."""

_Addresses = tuple[str | socket.socket, ...]
_SPARE_FILES = 256  # descriptors that are not connections
_DAY_S = 86400.0


@click.command()
@click.option(
    "--bind",
    "binds",
    multiple=True,
    help="HOST:PORT or unix:PATH; may be repeated."
    "  [default: 127.0.0.1:8500, or what a service manager hands down]",
)
@click.option(
    "--data",
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="KV_TRIO_DATA",
    show_envvar=True,
    help="Directory of the database, made if absent. Without it, memory only.",
)
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Who may do what; reread when it changes. See `kv-trio token`.",
)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A name that clients know it by, beside its addresses'; may be repeated.",
)
@click.option("--insecure", is_flag=True, help="Bind beyond this machine, no tokens.")
@click.option(
    "--history-count",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="States of a key that are kept.",
)
@click.option(
    "--history-days",
    type=Duration(unit="d"),
    default="30d",
    show_default=True,
    help="So long a state that was replaced is kept; a plain number is days.",
)
@click.option(
    "--connections",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="Open connections; a client beyond them gets a 429.",
)
@click.option(
    "--limit",
    "given_limits",
    multiple=True,
    metavar="NAME=NUMBER",
    help="What a request or client may make it do: see Limits in docs/store.md.",
)
@click.option(
    "--reuse-port",
    is_flag=True,
    help="Let other processes serve on the same ports, such as this one's successor.",
)
@click.option(
    "--wait-data",
    "wait_s",
    type=Duration(),
    metavar="TIME",
    help="So long wait for a server that has the directory.  [default: 60s with"
    " --reuse-port or a socket that is handed down, otherwise 0s]",
)
@click.option(
    "--lame-duck",
    "lame_duck_s",
    type=Duration(),
    default="0s",
    show_default=True,
    metavar="TIME",
    help="At SIGTERM, so long still accept connections and send clients elsewhere.",
)
@click.option(
    "--drain",
    "drain_s",
    type=Duration(),
    default="5s",
    show_default=True,
    metavar="TIME",
    help="At SIGTERM, after --lame-duck, so long let end what is in progress.",
)
@click.option(
    "--tls-cert",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Serve HTTPS with this certificate, PEM; read again when it changes.",
)
@click.option(
    "--tls-key",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Its private key.  [default: in the file of the certificate]",
)
@click.option(
    "--audit-log",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Append a line of JSON for each write: who, what, from where; - for standard"
    " output. SIGHUP opens it anew.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    envvar="CANARY_LOG_FORMAT",
    show_envvar=True,
    show_default=True,
    help="How the process's own log is written, on standard error.",
)
def serve(
    binds: tuple[str, ...],
    data: Path | None,
    token_file: Path | None,
    history_count: int,
    history_days: float,
    connections: int,
    *,
    hosts: tuple[str, ...],
    reuse_port: bool,
    wait_s: float | None,
    lame_duck_s: float,
    drain_s: float,
    given_limits: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    insecure: bool,
    audit_log: Path | None,
    log_format: str,
) -> None:
    """Serve a store until SIGTERM or Ctrl-C.

    It listens once its data is loaded. SIGTERM and Ctrl-C end it as --lame-duck and --drain
    say, a second one at once. SIGHUP opens the audit log anew, and reads the token file and
    the certificate again; when these change that needs no signal.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it has a meaning
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    import attrs  # noqa: PLC0415

    from canary_health import process_log  # noqa: PLC0415
    from http_trio import ProcessLife, ServiceManager, Tls, raise_file_limit  # noqa: PLC0415
    from kv_trio.limits import parse_limits  # noqa: PLC0415
    from kv_trio.serving import LIMITS  # noqa: PLC0415
    from kv_trio.storage.history import Bounds  # noqa: PLC0415

    inherited = _take_inherited()
    addresses: _Addresses = (*binds, *inherited) or (DEFAULT_BIND,)
    if token_file is None and not insecure:
        _check_local(addresses)
    process_log.configure(process_log.LogForm(log_format), service="kv-trio")
    raise_file_limit(connections + _SPARE_FILES)
    if tls_key is not None and tls_cert is None:
        raise click.UsageError("--tls-key needs a --tls-cert FILE")
    if wait_s is None:
        wait_s = WAIT_S if reuse_port or inherited else 0.0
    settings: dict[str, Any] = {
        "data": data,
        "bounds": Bounds(history_count, history_days * _DAY_S),
        "tokens": token_file,
        "limits": attrs.evolve(LIMITS, connections=connections),
        "tls": None if tls_cert is None else Tls(tls_cert, tls_key),
        "hosts": hosts,
        "reuse_port": reuse_port,
        "wait_s": wait_s,
        "audit": _open_audit_log(audit_log),
    }
    try:
        settings["store_limits"] = parse_limits(given_limits)
    except ValueError as exc:
        raise click.UsageError(f"--limit {exc}") from exc
    where = "in memory" if data is None else f"in {data}"
    life: ProcessLife[KvServer] = ProcessLife(
        ServiceManager.take(), lame_duck_s, drain_s, partial(_tell_serving, where)
    )
    _run(life, addresses, where, settings)


def _open_audit_log(path: Path | None) -> AuditLog | None:
    """Open the audit log, if there is to be one; where that fails, end the command."""
    from kv_trio.api.writing.audit_log import AuditLog  # noqa: PLC0415
    from kv_trio.errors import BadAuditLog  # noqa: PLC0415

    if path is None:
        return None
    try:
        return AuditLog(None if str(path) == "-" else path)
    except BadAuditLog as exc:
        fail(str(exc))


def _run(
    life: ProcessLife[KvServer],
    addresses: _Addresses,
    where: str,
    settings: dict[str, Any],
) -> None:
    """Serve until a signal ends it; a failure is one line and exit status 1."""
    import trio  # noqa: PLC0415

    from canary_health.process_log import fail_as_json  # noqa: PLC0415
    from http_trio import HttpError  # noqa: PLC0415
    from kv_trio.errors import KvError  # noqa: PLC0415
    from kv_trio.serving import serve as serve_store  # noqa: PLC0415

    def on_waiting() -> None:
        told = f"waits for the data {where}, which another server has"
        life.tell(told)
        _log.info("kv-trio %s", told)

    start: Callable[..., Awaitable[None]] = partial(
        serve_store, addresses, on_waiting=on_waiting, **settings
    )
    try:
        trio.run(life.run, start, f"loads data {where}")
    except (HttpError, KvError) as exc:
        fail_as_json(str(exc))
        fail(str(exc))


def _tell_serving(where: str, server: KvServer) -> None:
    addresses, index = ", ".join(server.addresses), server.store.index
    _log.info(
        "kv-trio listens on %s, data %s, index %d",
        *(addresses, where, index),
        extra={"addresses": addresses, "index": index},
    )


def _take_inherited() -> list[socket.socket]:
    """Take the sockets that a service manager handed down; all of them serve."""
    from http_trio import BadBind, inherited_listeners  # noqa: PLC0415

    try:
        return [sock for _, sock in inherited_listeners()]
    except BadBind as exc:
        raise click.UsageError(str(exc)) from exc


def _check_local(addresses: _Addresses) -> None:
    """Refuse to serve other machines where everybody may do everything."""
    from http_trio import address_of  # noqa: PLC0415

    names = [one if isinstance(one, str) else address_of(one) for one in addresses]
    open_to_others = [name for name in names if not _is_local(name)]
    if open_to_others:
        fail(
            f"{open_to_others[0]} can be reached from other machines, and whoever reaches"
            " it can change everything; give a --token-file, bind to 127.0.0.1, or say"
            " --insecure"
        )


def _is_local(bind: str) -> bool:
    if bind.startswith("unix:"):
        return True
    host = bind.rpartition(":")[0].strip("[]")
    from http_trio import parse_address  # noqa: PLC0415

    address = parse_address(host)
    return host == "localhost" if address is None else address.is_loopback
