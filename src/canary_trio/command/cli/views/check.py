"""The command `canary check`: questions whose answer a script can act on.

The answer is "yes" only where everybody was asked and nobody objects. One objection is a "no",
whoever else is silent; and where somebody could not be asked, and nobody objects, it is
"unknown". A script that removes servers waits for a yes, and for nothing else.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import click

from canary_trio.command.cli.options import admin_options, store_options

if TYPE_CHECKING:
    from canary_trio.admin.asking.overview import Overview, Status
    from canary_trio.control.sources.source import KeyStore

YES, NO, UNKNOWN = 0, 1, 3
"""The exit statuses of the answers."""

_WORDS = {YES: "yes", NO: "no", UNKNOWN: "unknown"}
_ODD = (LookupError, TypeError, ValueError, AttributeError)


@attrs.frozen
class Answer:
    """What is known.

    Attributes:
        question: in words.
        against: what speaks against it.
        unasked: who could not be asked, and why.
    """

    question: str
    against: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()

    @property
    def status(self) -> int:
        """The exit status."""
        if self.against:
            return NO
        return UNKNOWN if self.unasked else YES

    @property
    def word(self) -> str:
        """Yes, no or unknown."""
        return _WORDS[self.status]


@click.command()
@click.argument("service")
@click.option(
    "--safe-to-remove",
    "arm",
    metavar="ARM",
    help="Does nothing lead to ARM any more, in no live proxy, no request and no change that"
    " may come back?",
)
@click.option(
    "--healthy",
    is_flag=True,
    help="Does each arm that gets traffic have servers, and run all proxies the newest"
    " revision, in contact with the store?",
)
@store_options.config_server
@admin_options.asker_options
@store_options.as_json
def check(
    service: str,
    arm: str | None,
    config_server: str,
    *,
    healthy: bool,
    as_json: bool,
) -> None:
    """Answer a question about SERVICE by the exit status.

    0: yes. 1: no, with the reasons. 2: wrong usage. 3: unknown, since somebody could not be
    asked.
    """
    from canary_trio.admin.asking import overview as views  # noqa: PLC0415

    if healthy == (arm is not None):
        raise click.UsageError("give one of --safe-to-remove ARM and --healthy")
    if arm is not None and service.startswith("@"):
        raise click.UsageError(f"{service} is a gateway, and has no arms")
    credentials = admin_options.credentials()

    async def read(client: KeyStore) -> tuple[Overview, dict[str, Status]]:
        found = await views.read_overview(client, service, gateways=False)
        return found, await views.ask_admins(found.fleet, credentials)

    try:
        found, statuses = store_options.ask(config_server, read)
    except SystemExit as exc:  # its words are told
        if exc.code == 1:
            sys.exit(NO if healthy else UNKNOWN)
        raise
    if arm is None:
        answer = is_healthy(found, statuses)
    else:
        answer = is_safe_to_remove(found, statuses, arm)
    if as_json:
        shown = {"service": service, "answer": answer.word, **attrs.asdict(answer)}
        click.echo(json.dumps(shown, indent=2))
    else:
        click.echo(f"{answer.word}: {answer.question}")
        for line in (*answer.against, *answer.unasked):
            click.echo(f"  {line}")
    sys.exit(answer.status)


def is_safe_to_remove(
    found: Overview, statuses: Mapping[str, Status], arm: str
) -> Answer:
    """Tell whether nothing leads to an arm any more."""
    from canary_trio.config.document import load  # noqa: PLC0415
    from canary_trio.errors import InvalidConfig  # noqa: PLC0415
    from canary_trio.routing.arm_references import references_to  # noqa: PLC0415

    against: list[str] = []
    unasked: list[str] = []
    documents = {f"revision {found.revision}": found.document}
    if found.pending is not None:
        back = f"revision {found.pending.revision}, which an unconfirmed change goes back to"
        documents[back] = found.pending.document.encode()
    for name, text in documents.items():
        try:
            config = load(text)
        except InvalidConfig as exc:
            unasked.append(f"{name}: not valid: {exc.problems[0]}")
            continue
        if arm in config.arms:
            against += [f"{name}: {why}" for why in references_to(config, arm)]
    for who, said in _each(found, statuses, unasked):
        against += [f"{who}: {why}" for why in _held(said, arm)]
    return Answer(
        f"{found.service}: arm {arm} is safe to remove", *_all(against, unasked)
    )


def is_healthy(found: Overview, statuses: Mapping[str, Status]) -> Answer:
    """Tell whether a service is served as its document says."""
    against: list[str] = []
    unasked: list[str] = []
    fleet = found.fleet
    live = {report.id for report in fleet.live}
    if not fleet.reports:
        against.append("no proxy is live")
    against += [
        f"{report.id}: {fleet.said_of(report)}, and the newest is {found.revision}"
        for report in fleet.reports
        if report.id not in live
    ]
    for who, said in _each(found, statuses, unasked):
        against += [f"{who}: {why}" for why in _ills(said)]
        for name, part in said.get("services", {}).items():
            against += [f"{who}: {name}: {why}" for why in _ills(part)]
    return Answer(f"{found.service} is healthy", *_all(against, unasked))


def _each(
    found: Overview, statuses: Mapping[str, Status], unasked: list[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give what each admin listener says of the service, by its proxies' names."""
    from canary_trio.admin.asking.overview import of_service  # noqa: PLC0415
    from canary_trio.errors import printable  # noqa: PLC0415

    names: dict[str, list[str]] = {}
    for report in found.fleet.reports:
        names.setdefault(report.admin or report.id, []).append(report.id)
    for address, said in statuses.items():
        who = ", ".join(names.get(address, [address]))
        told = of_service(said, found.service)
        if isinstance(told, str):
            unasked.append(f"{who} cannot be asked: {printable(told)}")
        elif not _is_status(told):
            unasked.append(f"{who} gives no status of {found.service}")
        else:
            yield who, told


def _is_status(said: dict[str, Any]) -> bool:
    """Tell whether it has the shape of what is looked at."""
    try:
        for part in (said, *said.get("services", {}).values()):
            list(_held(part, ""))
            list(_ills(part))
    except _ODD:
        return False
    return True


def _held(said: dict[str, Any], arm: str) -> Iterator[str]:
    for name, shown in said["arms"].items():
        reasons = list(shown["held_by"])
        if name == arm:
            yield from map(str, reasons)
    removed = said["removed_arms"].get(arm)
    if removed is not None:
        yield f"it is removed, and has {int(removed['in_flight'])} requests in progress"


def _ills(said: dict[str, Any]) -> Iterator[str]:
    store = said["store"]
    if store["stale"]:
        error = store["error"]
        yield "no contact with the store" + (f": {error}" if error else "")
    for name, arm in said["arms"].items():
        usable, all_ = int(arm["usable_servers"]), len(arm["servers"])
        if not arm["held_by"]:
            continue  # nothing leads there
        if not usable:
            yield f"arm {name} has no usable server of {all_}"
        elif arm["panic"]:
            yield f"arm {name} is in panic: too few of its servers are healthy"


def _all(*lists: list[str]) -> tuple[tuple[str, ...], ...]:
    """Give lists as they are shown: nothing that steers a terminal, nothing twice."""
    from canary_trio.errors import printable  # noqa: PLC0415

    return tuple(tuple(dict.fromkeys(map(printable, one))) for one in lists)
