"""How the commands `canary` and `kv-trio` begin: with `health`, or with all the rest.

The rest is named by a string, as in an entry point, so that nothing of it is imported for a
health check.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys
from collections.abc import Mapping

import attrs
import click

from canary_health.durations import Duration, write_duration
from canary_health.probe import NotReady, ask_ready
from canary_health.standard_output import ending_with_its_output

PATIENCE_S = 5.0
"""How long a server has to respond, by default."""


SPARED = ("httpx._main", "httpcore._async.http2", "httpcore._sync.http2", "anyio")
"""The command of httpx, which draws on a terminal, its HTTP/2, and what it runs on without
trio; none is used here."""

GC_THRESHOLD = 200_000
"""Objects more than before until cycles are looked for; a short command ends before."""


@attrs.frozen
class DefaultServer:
    """Which server a command asks by itself.

    Attributes:
        url: by default.
        variable: of the environment that gives another one; empty for none.
    """

    url: str
    variable: str = ""


ASKED: Mapping[str, DefaultServer] = {
    "canary": DefaultServer("http://127.0.0.1:8081"),
    "kv-trio": DefaultServer("http://127.0.0.1:8500", "CANARY_CONFIG_SERVER"),
}
"""By the name of the command."""


def health_of(name: str) -> click.Command:
    """Give the command `health` of one of the commands."""
    asked = ASKED[name]

    @click.command("health", context_settings={"help_option_names": ["-h", "--help"]})
    @click.argument("url", default=asked.url, envvar=asked.variable or None)
    @click.option(
        "--timeout",
        "timeout_s",
        type=Duration(min_open=True),
        default=write_duration(PATIENCE_S),
        show_default=True,
        metavar="TIME",
        help="How long it has to respond.",
    )
    @click.option(
        "--ca-file",
        envvar=["CANARY_CA_FILE", "CONSUL_CACERT"],
        show_envvar=True,
        metavar="FILE",
        help="The authorities that an https:// server is verified by, as PEM; one on this"
        " machine is not.  [default: the system's]",
    )
    def health(url: str, timeout_s: float, ca_file: str | None) -> None:
        try:
            said = ask_ready(url, timeout_s, ca_file)
        except NotReady as exc:
            click.echo(f"{name}: not ready: {exc}", err=True)
            sys.exit(1)
        except ValueError as exc:
            raise click.UsageError(str(exc)) from exc
        click.echo(said)

    health.help = (
        f"Ask a server whether it is ready: exit status 0 if so, 1 if not.\n\n"
        f"URL is http(s)://HOST:PORT or unix:PATH, {asked.url} by default; its path is"
        f" /ready, unless it has another one, such as /live."
    )
    return health


def canary() -> None:
    """Run the command `canary`."""
    _run("canary", "canary_trio.command.cli.main")


def kv_trio() -> None:
    """Run the command `kv-trio`."""
    _run("kv-trio", "kv_trio.cli.main")


def _run(name: str, rest: str) -> None:
    have_standard_streams()
    with ending_with_its_output():
        if sys.argv[1:2] == ["health"]:
            health_of(name).main(sys.argv[2:], prog_name=f"{name} health")
        make_quick()
        importlib.import_module(rest).main()


def have_standard_streams() -> None:
    """Let what was closed (`2>&-`) go nowhere, in place of no stream at all.

    The number of a closed one is that of the next file that is opened, such as a database:
    whatever a library then writes to standard error would be written into it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(nowhere, True)  # for workers too
            setattr(sys, name, os.fdopen(nowhere, mode, closefd=False))


def make_quick() -> None:
    """Spare this process what no command of ours needs, a third of the time of a short one.

    Python's word for a module that cannot be had is None. So httpx finds itself as it is
    without its extras, which its packages are made for.

    As a process ends, Python looks three times for cycles among all that it has, and takes
    that apart piece by piece: a sixth of the time of a short command, for memory that the
    system takes back whole. What is frozen it leaves alone. What has to be closed or written
    is so before: by its block, or by what was registered for the end after this.
    """
    sys.modules.update(dict.fromkeys(SPARED))  # type: ignore[arg-type]
    gc.set_threshold(GC_THRESHOLD)
    atexit.register(gc.freeze)


def spare_no_more(name: str) -> None:
    """Let a module be imported that `make_quick` spared this process."""
    if sys.modules.get(name, name) is None:
        del sys.modules[name]
