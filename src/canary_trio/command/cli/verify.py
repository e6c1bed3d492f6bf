"""The command `canary verify`: its options, and how it shows what it does.

One file, since the options of one kind of fleet are refused for the other.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

import click

from canary_health.durations import Duration
from canary_trio.command.cli.options import store_options

if TYPE_CHECKING:
    from canary_trio.control.sources.source import DocumentSource
    from canary_trio.verify.fleet import ProxyPorts
    from canary_trio.verify.peers.journal import Journal
    from canary_trio.verify.report import VerifyReport
    from canary_trio.verify.run import VerifyPlan

MOST_PROXIES = 16
NOT_JUDGED = 3
_WIDTH = 100

_STEPS = (
    *("flip", "policy", "rollout", "abort", "rollback", "handover"),
    *("store", "hang", "cold", "crash", "storm"),
)
_OF_OWN = {"kind": "--store", "count": "--proxies", "data": "--data"}
_OF_GIVEN = {"proxies": "--proxy", "yes": "--yes", "path": "--path", "host": "--host"}


@click.command()
@click.argument("service", required=False)
@click.option(
    "--seconds",
    type=Duration(min=0, min_open=True, max=3600),
    default="60s",
    show_default=True,
    metavar="TIME",
    help="After so long no step begins any more; what was not done is said.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="The same plan of steps again.  [default: drawn, and said]",
)
@click.option(
    "--step",
    "names",
    multiple=True,
    type=click.Choice(_STEPS),
    help="Only this one; may be repeated.  [default: all]",
)
@click.option(
    "--store",
    "kind",
    type=click.Choice(["kv", "consul", "etcd"]),
    help="The store to start: a kv-trio, or what $CONSUL or $ETCD names, or the path has."
    "  [default: kv]",
)
@click.option(
    "--proxies",
    "count",
    type=click.IntRange(1, MOST_PROXIES),
    help="The proxies to start.  [default: 2]",
)
@click.option(
    "--data",
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the processes' logs and data are kept.  [default: a directory that is"
    " removed at the end]",
)
@store_options.config_server
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    metavar="http://HOST:PORT",
    help="A proxy of SERVICE; may be repeated.",
)
@click.option("--path", help="What SERVICE is asked for.  [default: /]")
@click.option(
    "--host", help="The Host of these requests.  [default: the proxy's address]"
)
@click.option(
    "--yes",
    is_flag=True,
    default=None,
    help="Yes, move the users of SERVICE about; its document is put back at the end.",
)
@store_options.as_json
def verify(
    service: str | None, config_server: str, *, as_json: bool, **given: Any
) -> None:
    """Put a fleet under load, change everything meanwhile, and judge what clients saw.

    Without SERVICE it starts a fleet of its own: a store, servers and proxies. Requests,
    WebSockets, calls of gRPC and slow bodies go on while ratios flip, policies change,
    rollouts run and are aborted, proxies follow each other, and the store and servers are
    killed. None may be lost, none may be routed by what its revision does not say, and no
    user may move beyond the arithmetic.

    With SERVICE the fleet is one that is there; only its ratio is flipped:

        canary verify web --url http://127.0.0.1:8500 --proxy http://127.0.0.1:8080 --yes

    Exit status: 0 all of it held, 1 something did not, 2 wrong usage, 3 it could not be
    judged.
    """
    import random  # noqa: PLC0415

    from canary_trio.verify.run import VerifyPlan  # noqa: PLC0415

    _check_usage(service, given)
    seed = given["seed"]
    wanted = VerifyPlan(
        seconds=given["seconds"],
        seed=random.SystemRandom().randrange(10**6) if seed is None else seed,
        names=given["names"] or (_STEPS if service is None else ("flip",)),
    )
    with _ended_by_sigterm():
        report = (
            _verify_own(wanted, given)
            if service is None
            else _verify_given(wanted, service, config_server, given)
        )
    _clear()
    if as_json:
        click.echo(json.dumps(report.table()))
    else:
        for line in report.lines():
            click.echo(line)
    sys.exit(int(report.outcome))


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end it as Ctrl-C does: no process, and nobody's ratio, is left as it was."""
    before = signal.signal(
        signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT)
    )
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _check_usage(service: str | None, given: dict[str, Any]) -> None:
    """Tell which options go with which fleet.

    Raises:
        click.UsageError: one does not.
    """
    others = _OF_GIVEN if service is None else _OF_OWN
    for name, option in others.items():
        if given[name]:
            whose = "a fleet that is there: name its SERVICE" if service is None else ""
            raise click.UsageError(
                f"{option} is for {whose or 'a fleet that is started, without SERVICE'}"
            )
    if service is None:
        data = given["data"]
        if data is not None and data.exists() and any(data.iterdir()):
            raise click.UsageError(f"{data} is not empty: --data is of one run")
        return
    if not given["proxies"]:
        raise click.UsageError(
            f"which are the proxies of {service}? name them by --proxy"
        )
    if set(given["names"]) - {"flip"}:
        raise click.UsageError(
            "a fleet that is there is done no other --step than flip"
        )
    if not given["yes"]:
        raise click.UsageError(
            f"it moves users of {service} from arm to arm; say --yes if it may"
        )


def _place(url: str) -> ProxyPorts:
    from canary_trio.verify.fleet import ProxyPorts  # noqa: PLC0415

    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
        raise click.BadParameter(
            f"found {url!r}, expected http://HOST:PORT", param_hint="--proxy"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return ProxyPorts(f"{host}:{port}")


def _verify_given(
    wanted: VerifyPlan, service: str, url: str, given: dict[str, Any]
) -> VerifyReport:
    from canary_trio.verify.processes import NotStarted  # noqa: PLC0415
    from canary_trio.verify.run import GivenFleet, verify_given  # noqa: PLC0415

    fleet = GivenFleet(
        service=service,
        proxies=tuple(_place(one) for one in given["proxies"]),
        path=given["path"] or "/",
        host=given["host"] or "",
    )

    async def judged(client: DocumentSource) -> VerifyReport | BaseExceptionGroup:
        try:
            return await verify_given(wanted, fleet, client, url, _show)
        except NotStarted as exc:
            return BaseExceptionGroup("", [exc])

    found = store_options.ask(url, judged)
    if isinstance(found, BaseExceptionGroup):
        _not_judged(found)
    return found


def _verify_own(wanted: VerifyPlan, given: dict[str, Any]) -> VerifyReport:
    import tempfile  # noqa: PLC0415

    import trio  # noqa: PLC0415

    from canary_trio.verify.processes import STORES, NotStarted  # noqa: PLC0415
    from canary_trio.verify.run import verify_own  # noqa: PLC0415

    kind = given["kind"] or "kv"
    if missing := STORES[kind].missing():
        _say_not_judged(missing)
    with tempfile.TemporaryDirectory(prefix="canary-verify-") as made:
        directory = given["data"] or Path(made)
        directory.mkdir(parents=True, exist_ok=True)
        run = partial(
            verify_own,
            wanted,
            kind=kind,
            proxies=given["count"] or 2,
            directory=directory.absolute(),
            progress=_show,
        )
        try:
            return trio.run(run)
        except BaseExceptionGroup as group:
            if group.subgroup(KeyboardInterrupt) is not None:
                _clear()
                again = f"--seed {wanted.seed} begins the same plan again"
                click.echo(f"canary: interrupted, nothing is judged; {again}", err=True)
                sys.exit(store_options.INTERRUPTED)
            found = group.subgroup(NotStarted)
            if found is None:
                raise
            _not_judged(found)


# === what is shown ===


def _show(journal: Journal) -> None:
    """Show how it goes, at a terminal, in one line."""
    if not sys.stderr.isatty():
        return
    steps = journal.record.steps
    step = f"step {steps[-1].number} {steps[-1].name}" if steps else "begins"
    line = (
        f"{journal.now():6.1f} s  {step}: {journal.counts.total():,} requests,"
        f" {journal.lost:,} lost, {len(journal.record.written):,} changes"
    )
    click.echo(f"\r\x1b[2K{line[:_WIDTH]}", nl=False, err=True)


def _clear() -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[2K", nl=False, err=True)


def _not_judged(group: BaseExceptionGroup) -> NoReturn:
    _say_not_judged(*(str(one) for one in _leaves(group)))


def _say_not_judged(*reasons: str) -> NoReturn:
    _clear()
    for reason in reasons:
        click.echo(f"canary: not judged: {reason}", err=True)
    sys.exit(NOT_JUDGED)


def _leaves(group: BaseExceptionGroup) -> Iterator[BaseException]:
    for one in group.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from _leaves(one)
        else:
            yield one
