"""The commands that look back, and go back: history, diff, rollback and undo.

To go back is a change like any other: a new revision with the content of an old one, by the
same checks, over the revision that was looked at. One file, since all four show revisions in
the same words.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import click

from canary_trio.command.cli.changes import writing
from canary_trio.command.cli.changes.writing import How
from canary_trio.command.cli.options import store_options
from canary_trio.control.changes.drafts import Draft

if TYPE_CHECKING:
    from canary_trio.control.changes.difference import Difference
    from canary_trio.control.changes.history import Change, ChangeLog
    from canary_trio.control.sources.source import DocumentSource, KeyStore

LIMIT = 20
"""Changes that are shown, if nothing else is said."""

_REVISION = click.IntRange(min=1)


@click.command()
@click.argument("service")
@store_options.config_server
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=LIMIT,
    show_default=True,
    metavar="N",
    help="Show the newest N.",
)
@store_options.as_json
def history(service: str, config_server: str, limit: int, *, as_json: bool) -> None:
    """Show who changed the document of SERVICE, when, and what: canary history web.

    A change "by hand" was written past this command, as by curl: nobody noted it. The
    document of each revision is kept, for `canary diff` and `canary rollback`.
    """
    found = _read(service, config_server)
    shown = found.changes[:limit]
    if as_json:
        changes = [_shown(change) for change in shown]
        table = {"service": service, "present": found.present, "changes": changes}
        click.echo(json.dumps(table, indent=2))
        return
    for line in table_lines(shown, found.present):
        click.echo(line)
    if len(found.changes) > limit:
        click.echo(f"({len(found.changes) - limit} older: --limit N)", err=True)


@click.command()
@click.argument("service")
@click.argument("a", type=_REVISION)
@click.argument("b", type=_REVISION, required=False)
@store_options.config_server
@store_options.as_json
def diff(
    service: str, a: int, b: int | None, config_server: str, *, as_json: bool
) -> None:
    """Show what changed from revision A to B, or to the present: canary diff web 41."""
    from canary_trio.control.changes.difference import differences  # noqa: PLC0415
    from canary_trio.control.changes.documents import read_revision  # noqa: PLC0415
    from canary_trio.control.changes.reading import read_document  # noqa: PLC0415

    async def read(client: DocumentSource) -> tuple[bytes, bytes, int]:
        _check_history(client)
        if b is None:
            after, revision = await read_document(client, service)
        else:
            after, revision = await read_revision(client, service, b), b
        return await read_revision(client, service, a), after, revision

    before, after, to = store_options.ask(config_server, read)
    found = differences(_parsed(before, a), _parsed(after, to))
    if as_json:
        listed = [shown_difference(one) for one in found]
        click.echo(json.dumps({"from": a, "to": to, "differences": listed}, indent=2))
        return
    for line in difference_lines(found):
        click.echo(line)
    if not found:
        click.echo(f"no difference between revisions {a} and {to}", err=True)


@click.command()
@click.argument("service")
@click.argument("revision", type=_REVISION)
@writing.options
def rollback(service: str, revision: int, how: How) -> None:
    """Write the document of REVISION again, as a new one: canary rollback web 41 --wait 2.

    `canary history` has the revisions, `canary diff` what would change.
    """
    from canary_trio.config.document import parse  # noqa: PLC0415
    from canary_trio.control.changes.documents import read_history, read_revision  # noqa: PLC0415

    async def old(client: KeyStore) -> Draft:
        over = (await read_history(client, service)).present
        document = parse(await read_revision(client, service, revision))
        return Draft(
            document,
            over,
            copy_of=revision,
            message=f"back to revision {revision}",
            told=f"a copy of {revision}",
            fields={"copy_of": revision},
        )

    writing.write(service, old, how)


@click.command()
@click.argument("service")
@click.argument("revision", type=_REVISION, required=False)
@writing.options
def undo(service: str, revision: int | None, how: How) -> None:
    """Take back the last change of SERVICE: canary undo web --wait 2.

    It is a new revision with the content before that change. Once more, it takes back the
    change before, and so on; `canary rollback` leads to any revision, also forward again.
    With REVISION nothing is done if the document is at another one now.
    """
    from canary_trio.config.document import parse  # noqa: PLC0415
    from canary_trio.control.changes.documents import (  # noqa: PLC0415
        read_history,
        read_revision,
    )
    from canary_trio.errors import NoDocument, NothingToUndo, WrittenMeanwhile  # noqa: PLC0415

    async def before(client: KeyStore) -> Draft:
        found = await read_history(client, service)
        if not found.present:
            last = next((one for one in found.changes if not one.tried), None)
            if last is None:
                raise NoDocument(service)
            raise NothingToUndo(service, last.revision, is_deleted=True)
        if revision not in (None, found.present):
            present = found.find(found.present)
            raise WrittenMeanwhile(
                service, found.present, present.who if present else ""
            )
        last, earlier = found.to_undo()
        if last is None or earlier is None:
            raise NothingToUndo(service, last.revision if last else found.present)
        document = parse(await read_revision(client, service, earlier.revision))
        return Draft(
            document,
            found.present,
            copy_of=earlier.revision,
            undoes=last.revision,
            message=f"undo of revision {last.revision}",
            told=f"without the change of {last.revision} {_line(last.who)}: a copy of"
            f" {earlier.revision}",
            fields={"copy_of": earlier.revision, "undone": last.revision},
        )

    writing.write(service, before, how)


def table_lines(changes: Sequence[Change], present: int) -> Iterable[str]:
    """Give a table of changes as lines; the present one is marked."""
    from canary_trio.control.changes.history import show_time  # noqa: PLC0415

    rows = [("REVISION", "TIME", "AUTHOR", "CHANGE", "MESSAGE")]
    rows += [
        (
            f"{change.revision}{' *' if change.revision == present else ''}",
            "-" if change.at is None else show_time(change.at),
            "by hand" if change.by_hand else _line(change.author, 32),
            _line(what_changed(change), 60),
            _line(change.message),
        )
        for change in changes
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield "  ".join([*cells, row[-1]]).rstrip()


def what_changed(change: Change) -> str:
    """Say in short what a change did."""
    if change.tried:
        return f"only tried: {what_changed(attrs.evolve(change, tried=False))}"
    if change.copy_of:
        return f"a copy of {change.copy_of}"
    if not change.summary:
        return "" if change.over else "the first document"
    more = len(change.summary) - 1 + change.others
    if not change.over and not change.by_hand:
        return f"the first document: {more + 1} fields"
    return change.summary[0] + (f" (+{more})" if more else "")


def difference_lines(found: Iterable[Difference]) -> Iterable[str]:
    """Give differences as lines, coloured where colours are shown."""
    from canary_trio.control.changes.difference import ABSENT  # noqa: PLC0415

    for one in found:
        path = _line(one.path)
        if one.before is not ABSENT:
            yield _styled(f"- {path} = {_value(one.before)}", "red")
        if one.after is not ABSENT:
            yield _styled(f"+ {path} = {_value(one.after)}", "green")


def shown_difference(one: Difference) -> dict[str, Any]:
    """Give a difference for JSON; what is absent is left out."""
    from canary_trio.control.changes.difference import ABSENT  # noqa: PLC0415

    shown = {"path": one.path, "before": one.before, "after": one.after}
    return {name: value for name, value in shown.items() if value is not ABSENT}


def _parsed(text: bytes, revision: int) -> dict[str, Any]:
    """Give the document of a revision; one that was written by hand may be none."""
    from canary_trio.config.document import parse  # noqa: PLC0415
    from canary_trio.errors import InvalidConfig  # noqa: PLC0415

    try:
        return parse(text)
    except InvalidConfig as exc:
        store_options.fail(f"revision {revision} is no document: {exc}")


def _check_history(client: DocumentSource) -> None:
    from canary_trio.control.sources.source import SourceCannot  # noqa: PLC0415

    if client.read_only:
        raise SourceCannot(f"{client.url} keeps no history: {client.read_only}")


def _read(service: str, config_server: str) -> ChangeLog:
    from canary_trio.control.changes.documents import read_history  # noqa: PLC0415
    from canary_trio.errors import NoDocument  # noqa: PLC0415

    async def read(client: DocumentSource) -> ChangeLog:
        _check_history(client)
        found = await read_history(client, service)
        if not found.changes:
            raise NoDocument(service)
        return found

    return store_options.ask(config_server, read)


def _shown(change: Change) -> dict[str, Any]:
    from canary_trio.control.changes.history import show_time  # noqa: PLC0415

    return {
        "revision": change.revision,
        "over": change.over,
        "author": change.author,
        "time": None if change.at is None else show_time(change.at),
        "message": change.message,
        "by_hand": change.by_hand,
        "copy_of": change.copy_of or None,
        "undoes": change.undoes or None,
        "changes": list(change.summary),
        "others": change.others,
    }


def _line(text: str, width: int | None = None) -> str:
    """Give text as one line that does nothing to a terminal, cut where it is long."""
    from canary_trio.errors import printable  # noqa: PLC0415

    line = printable(" ".join(text.split()))
    return line if width is None or len(line) <= width else line[: width - 1] + "…"


def _value(value: object) -> str:
    return _line(json.dumps(value, ensure_ascii=False))


def _styled(line: str, color: str) -> str:
    return line if os.environ.get("NO_COLOR") else click.style(line, fg=color)
