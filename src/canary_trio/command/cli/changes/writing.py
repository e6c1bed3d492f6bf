"""What all commands that write a document have in common: their options, and the write.

A command says what the document is to be, and of which revision it was made (`Draft`); how it
is written, noted, waited for and told of is the same for each of them (`How`). One file,
since it is one way, from what a user says to what is printed.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from canary_health.durations import Duration
from canary_trio.command.cli.changes.unconfirmed import write_and_look
from canary_trio.command.cli.changes.written import FIRST_S, Wait, Written, say_written
from canary_trio.command.cli.options import admin_options, store_options
from canary_trio.control.changes.drafts import Draft
from canary_trio.errors import WrittenMeanwhile

if TYPE_CHECKING:
    from canary_trio.admin.asking.client import AdminCredentials
    from canary_trio.control.changes.history import Note
    from canary_trio.control.fleet.report import Fleet
    from canary_trio.control.sources.source import DocumentSource

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_OPTIONS = (
    click.option(
        "-m",
        "--message",
        default="",
        metavar="TEXT",
        help="Why, for `canary history`.",
    ),
    click.option(
        "--author",
        envvar="CANARY_AUTHOR",
        show_envvar=True,
        metavar="NAME",
        help="Who.  [default: the name of the token, where the store knows it; else"
        " USER@HOST]",
    ),
    click.option(
        "--wait",
        "wait_s",
        type=Duration(min_open=True),
        metavar="TIME",
        help="Return when every live proxy routes by the new revision; status 3 if that is"
        " not so in time, or no proxy is live (the first is awaited for"
        f" {FIRST_S:g} s).",
    ),
    click.option(
        "--expect",
        type=click.IntRange(min=1),
        metavar="N",
        help="With --wait: go on until at least N proxies are live; status 3 if they are"
        " not in time.",
    ),
)

_CONFIRM_WITHIN = click.option(
    "--confirm-within",
    "within_s",
    type=Duration(min=1.0, max=7 * 86400.0),
    metavar="TIME",
    help="Go back by itself unless `canary confirm` comes in time, even where this terminal"
    " and its network are gone: a proxy does it. Status 3 if none is about to.",
)


_REHEARSE = click.option(
    "--rehearse",
    "rehearses",
    is_flag=True,
    help="Say first how many requests and users would move, and then write: in short what"
    " `canary rehearse` says.",
)


@attrs.frozen
class How:
    """How a document is written, as the user said.

    Attributes:
        config_server: the URL of the store.
        message, author: what it is noted with; no author for who the store knows.
        wait: for the fleet; None to return at once.
        rehearsal: what is shown to admin listeners, to say first what the document would
            do; None not to ask them.
        within_s: seconds in which it has to be confirmed; None where it is for good.
        as_json: whether JSON is printed.
    """

    config_server: str
    message: str
    author: str | None
    wait: Wait | None
    as_json: bool
    within_s: float | None = None
    rehearsal: AdminCredentials | None = None

    async def note(self, client: DocumentSource, draft: Draft) -> Note:
        """Give what the change is noted with."""
        from canary_trio.control.changes.archive import own_note  # noqa: PLC0415
        from canary_trio.control.changes.history import Note  # noqa: PLC0415

        author = self.author or await client.token_name() or own_note().author
        return Note(
            author,
            self.message or draft.message,
            copy_of=draft.copy_of,
            undoes=draft.undoes,
        )


def options(command: F) -> F:
    """Give a command the options of all that write, which it gets as one value, `how`."""
    return _CONFIRM_WITHIN(options_for_good(command))


def options_rehearsed(command: F) -> F:
    """Give a command the options of all that write, and `--rehearse`."""

    @functools.wraps(command)
    def with_rehearsal(*, rehearses: bool, **rest: Any) -> Any:
        shown = None
        if rehearses:
            check_rehearsed(rest["service"])
            shown = admin_options.credentials()
        return whole(rehearsal=shown, **rest)

    whole: Any = options(command)
    with_rehearsal.__click_params__ = whole.__click_params__  # type: ignore[attr-defined]
    found: Any = _REHEARSE(admin_options.asker_options(with_rehearsal))
    return found  # type: ignore[no-any-return]


def options_for_good(command: F) -> F:
    """Give a command the same, but for whether what it writes has to be confirmed."""

    @functools.wraps(command)
    def with_how(
        *,
        config_server: str,
        message: str,
        author: str | None,
        wait_s: float | None,
        expect: int | None,
        as_json: bool,
        within_s: float | None = None,
        rehearsal: AdminCredentials | None = None,
        **rest: Any,
    ) -> Any:
        _check_note(author, message)
        wait = _waiting(wait_s, expect)
        how = How(*(config_server, message, author, wait, as_json, within_s, rehearsal))
        return command(how=how, **rest)

    found: Any = store_options.config_server(store_options.as_json(with_how))
    for option in reversed(_OPTIONS):
        found = option(found)
    return found  # type: ignore[no-any-return]


def write(
    service: str,
    prepare: Callable[[DocumentSource], Awaitable[Draft]],
    how: How,
    *,
    tries: int = 1,
) -> None:
    """Write what `prepare` gives over the revision that it gives; wait, and say so.

    Args:
        service: whose document it is.
        prepare: gives what is to be written.
        how: else.
        tries: so often it is prepared anew, where another writer was first.
    """
    import trio  # noqa: PLC0415

    from kv_trio import KvError  # noqa: PLC0415

    unconfirmed, fault = "", ""
    wait = how.wait
    done: Written | None = None

    async def write(client: DocumentSource) -> tuple[Written, Fleet | None]:
        nonlocal unconfirmed, fault, done
        check_writable(client)
        draft = await prepare(client)
        note = await how.note(client, draft)
        draft = await _with_rollout(client, service, draft, note.author)
        await say_rehearsal(client, service, draft.document, how)
        moves_to = str(draft.document.get("config_server") or "").rstrip("/")
        if wait is not None and moves_to not in ("", client.url):
            from canary_trio.control.fleet.applied import read_fleet  # noqa: PLC0415

            wait.moves_to = moves_to
            fleet = await read_fleet(client, service, 0)
            wait.before = frozenset(report.id for report in fleet.reports)
        begun = trio.current_time()
        revision, outlook = await write_and_look(
            *(client, service, draft.document),
            over=draft.over,
            note=note,
            within_s=how.within_s,
        )
        fault, found = outlook.fault, None
        done = Written(
            revision,
            changed=revision != draft.over,
            took_s=trio.current_time() - begun,
            told=draft.told,
            waits=outlook.words,
            fields={**draft.fields, **outlook.fields},
        )
        if wait is not None:
            try:
                found = await wait.run(client, service, revision)
            except KvError as exc:  # of the wait: what is written, is written
                unconfirmed = str(exc)
        return attrs.evolve(done, took_s=trio.current_time() - begun), found

    try:
        written, fleet = store_options.ask(
            how.config_server, functools.partial(_again, write, tries)
        )
    except SystemExit as exc:
        if done is None or exc.code != store_options.INTERRUPTED:
            raise
        written, fleet, unconfirmed = done, None, "the wait was interrupted"
    if fault:
        click.echo(f"canary: {fault}", err=True)
    _say(written, fleet, unconfirmed, how)
    if fault:
        sys.exit(3)


async def _again(
    write: Callable[[DocumentSource], Awaitable[T]], tries: int, client: DocumentSource
) -> T:
    """Write, and so often at most where another writer is first."""
    for _ in range(1, tries):
        with contextlib.suppress(WrittenMeanwhile):
            return await write(client)
    return await write(client)


def _say(written: Written, fleet: Fleet | None, unconfirmed: str, how: How) -> None:
    """Say that it is written, and where it is live, unless there is a reason not to know."""
    say_written(written, fleet, None if unconfirmed else how.wait, as_json=how.as_json)
    if unconfirmed:
        click.echo(f"canary: where it is live is not known: {unconfirmed}", err=True)
        sys.exit(3)


async def say_rehearsal(
    client: DocumentSource, service: str, document: dict[str, Any], how: How
) -> None:
    """Say in short what a document would do, if the user wants to know that first."""
    if how.rehearsal is None:
        return
    from canary_trio.admin.asking import rehearsal  # noqa: PLC0415
    from canary_trio.control.changes.documents import check_document  # noqa: PLC0415

    check_document(service, document)
    text = json.dumps(document).encode()
    found = await rehearsal.ask_fleet(client, service, text, how.rehearsal)
    for line in rehearsal.short_lines(found):
        click.echo(line, err=how.as_json)
    for line in found.silent:
        click.echo(f"canary: {line}", err=True)


async def _with_rollout(
    client: DocumentSource, service: str, draft: Draft, author: str
) -> Draft:
    """Let a rollout stand as it does in the store; say so where it pauses."""
    if draft.moves_rollout or "rollout" not in draft.document or not draft.over:
        return draft
    from canary_trio.config.document import parse  # noqa: PLC0415
    from canary_trio.control.changes.reading import read_document  # noqa: PLC0415
    from canary_trio.control.changes.rollouts import keep_state  # noqa: PLC0415
    from canary_trio.rollout.moves import Situation  # noqa: PLC0415

    text, _ = await read_document(client, service)
    seen = Situation(round(time.time() * 1000), by=author)
    document, said = keep_state(
        parse(text), draft.document, seen, is_former=bool(draft.copy_of)
    )
    told = "; ".join(filter(None, (draft.told, said)))
    return attrs.evolve(draft, document=document, told=told)


def check_rehearsed(service: str) -> None:
    """End the command for a gateway, whose table of routes no proxy rehearses."""
    from canary_trio.routing.edge.names import is_gateway  # noqa: PLC0415

    if is_gateway(service):
        raise click.UsageError(
            f"{service} is a gateway, whose routes are not rehearsed; name one of its"
            " services, and see `canary explain` for a route"
        )


def check_writable(client: DocumentSource) -> None:
    """Check that documents can be written here.

    Raises:
        SourceCannot: it says why not.
    """
    from canary_trio.control.sources.source import SourceCannot  # noqa: PLC0415

    if client.read_only:
        raise SourceCannot(f"{client.url} takes no document: {client.read_only}")


def _waiting(wait_s: float | None, expect: int | None) -> Wait | None:
    if wait_s is not None:
        return Wait(wait_s, expect)
    if expect is not None:
        raise click.UsageError("--expect N says what --wait TIME is to wait for")
    return None


def _check_note(author: str | None, message: str) -> None:
    from canary_trio.control.changes.history import Note  # noqa: PLC0415
    from canary_trio.errors import BadNote  # noqa: PLC0415

    try:
        Note("somebody" if author is None else author, message)
    except BadNote as exc:
        raise click.UsageError(str(exc)) from exc
