"""`canary serve`: options become values, and one process or several serve by them."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from canary_trio.command.cli.changes.documents import read_valid
from canary_trio.command.cli.options import store_options
from canary_trio.command.cli.options.admin_options import (
    listener_options,
    settle_admin,
)
from canary_trio.command.cli.options.serve_options import (
    client_options,
    clients_of,
    listen_options,
    log_options,
    settle,
    token_options,
)
from canary_trio.routing.access.cells import CELLS, MOST_CLIENTS
from canary_trio.routing.rehearsal.ring import MOST_NOTED, NOTED

if TYPE_CHECKING:
    from canary_trio.command.process.log_options import LogOptions
    from canary_trio.serving.options import ProxyOptions

SPARE_FILES = 1024
"""Descriptors of a proxy beside clients' connections, each with one to a server."""


@click.command()
@click.argument("service")
@store_options.config_server
@token_options
@listen_options
@client_options
@listener_options
@click.option(
    "--bootstrap",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A document to write if the store has none.",
)
@click.option(
    "--passwords",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    envvar="CANARY_PASSWORDS",
    show_envvar=True,
    metavar="DIR",
    help="The directory of the files of users (`canary passwd`) that documents name for basic"
    " auth; read again when they change.",
)
@click.option(
    "--rollout-files",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    envvar="CANARY_ROLLOUT_FILES",
    show_envvar=True,
    metavar="DIR",
    help="The directory of the files of header fields and keys that gates and hooks of rollouts"
    " name.",
)
@click.option(
    "--data",
    "--state",
    "state",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="CANARY_DATA",
    show_envvar=True,
    help="Directory of the last good document.  [default: ~/.local/state/canary-trio]",
)
@click.option(
    "--id",
    "proxy_id",
    help="The proxy's name, which no other live one has.  [default: HOST-PORT and a part that is drawn]",
)
@click.option(
    "--rate-limit-clients",
    type=click.IntRange(1, MOST_CLIENTS),
    default=CELLS,
    show_default=True,
    metavar="N",
    help="Clients that limits of the rate of requests tell apart; 16 bytes each.",
)
@click.option(
    "--noted-requests",
    type=click.IntRange(0, MOST_NOTED),
    default=NOTED,
    show_default=True,
    metavar="N",
    help="Requests of each service that are noted for `canary rehearse`, without values that"
    " are secret or tell who somebody is; 0 for none.",
)
@log_options
def serve(
    service: str,
    *,
    config_server: str,
    token_files: dict[str, str],
    binds: tuple[str, ...],
    tls_binds: tuple[str, ...],
    h2c_binds: tuple[str, ...],
    trusted: tuple[str, ...],
    forwarded: str,
    proxy_protocol: bool,
    half_close: bool,
    workers: int,
    hung_s: float,
    listen_early: bool,
    reuse_port: bool,
    lame_duck_s: float,
    drain_s: float,
    admin: str | None,
    bootstrap: Path | None,
    passwords: Path | None,
    rollout_files: Path | None,
    state: Path | None,
    proxy_id: str | None,
    rate_limit_clients: int,
    noted_requests: int,
    access_log: Path | None,
    access_log_format: str,
    log_format: str,
) -> None:
    """Serve SERVICE, or a gateway such as @edge, until SIGTERM or Ctrl-C.

    What it does stands in its document in the store; that of a gateway is a table of routes
    to services, each with a document of its own.

    It listens once there is a document to route by. SIGTERM and Ctrl-C end it as --lame-duck
    and --drain say, a second one at once. SIGUSR1 and SIGHUP open the access log anew, after
    it was rotated; SIGHUP also looks at the files of certificates and of users.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it has a meaning
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    from canary_health.process_log import LogForm, fail_as_json  # noqa: PLC0415  # keeps --help quick, as below
    from canary_trio.command.process.log_options import LogOptions  # noqa: PLC0415
    from canary_trio.errors import CannotServe  # noqa: PLC0415
    from canary_trio.serving.options import ProxyOptions  # noqa: PLC0415
    from canary_trio.telemetry.access_log_format import LineForm  # noqa: PLC0415

    document = None if bootstrap is None else read_valid(bootstrap, service)
    addresses = settle(binds, tls_binds, h2c_binds)
    options = ProxyOptions(
        config_server=config_server,
        token_files=token_files,
        clients=clients_of(
            *(trusted, forwarded, addresses),
            proxy_protocol=proxy_protocol,
            half_close=half_close,
        ),
        **addresses.options,
        reuse_port=reuse_port,
        listen_late=not listen_early,
        lame_duck_s=lame_duck_s,
        drain_s=drain_s,
        **settle_admin(admin, addresses.admin),
        bootstrap=document,
        passwords=passwords,
        rollout_files=rollout_files,
        state=state,
        proxy_id=proxy_id,
        rate_limit_clients=rate_limit_clients,
        noted_requests=noted_requests,
        **click.get_current_context().meta[store_options.CLIENT_OPTIONS],
    )
    logs = LogOptions(
        form=LogForm(log_format),
        access_log=access_log,
        access_log_form=LineForm(access_log_format),
    )
    try:
        failure = _run(service, options, logs, workers, hung_s)
    except CannotServe as exc:
        fail_as_json(str(exc), 2)
        raise click.UsageError(str(exc)) from exc
    if failure:
        fail_as_json(failure)
        store_options.fail(failure)


def _run(
    service: str, options: ProxyOptions, logs: LogOptions, workers: int, hung_s: float
) -> str:
    """Serve until SIGTERM or Ctrl-C; give why it could not, empty if it could."""
    import trio  # noqa: PLC0415

    from canary_health import process_log  # noqa: PLC0415
    from canary_trio.command.process.progress import Console  # noqa: PLC0415
    from canary_trio.command.process.serve_process import serve_process  # noqa: PLC0415
    from canary_trio.command.process.supervisor import supervise  # noqa: PLC0415
    from canary_trio.telemetry.access_log import BadLog  # noqa: PLC0415
    from http_trio import Limits, raise_file_limit  # noqa: PLC0415

    process_log.configure(logs.form, service=service)
    connections = Limits().connections  # each with one to a server
    raise_file_limit(2 * connections + SPARE_FILES)  # of each worker, too
    if workers > 1:
        return trio.run(supervise, service, workers, options, logs, hung_s)
    try:
        access_log = logs.open_access_log()
    except BadLog as exc:
        return str(exc)
    return trio.run(serve_process, service, options, Console(service), access_log)
