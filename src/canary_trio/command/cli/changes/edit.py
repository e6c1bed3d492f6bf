"""The command `canary edit`: a document in an editor, until it is valid.

What the user typed is never lost: whatever goes wrong, it stays in a file whose name is said.
An editor that changes nothing ends it, and so do many that leave it invalid: one that is no
person does not go on for ever.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from canary_trio.command.cli.changes import writing
from canary_trio.command.cli.changes.writing import How
from canary_trio.command.cli.options import store_options
from canary_trio.control.changes.drafts import Draft

if TYPE_CHECKING:
    from canary_trio.control.sources.source import DocumentSource

_MARK = "//"
_EDITOR = "vi"
ROUNDS = 100
"""How often the editor opens again while the document is not valid."""
_WRITTEN = 3  # the status where it is written, and not live everywhere yet


@click.command()
@click.argument("service")
@writing.options
def edit(service: str, how: How) -> None:
    """Change the document of SERVICE in $VISUAL, or $EDITOR: canary edit web --wait 2.

    It is checked when the editor ends; what is wrong stands at the top of the file when it
    opens again. Nothing is written where nothing is changed, where the file is emptied, or
    where somebody else was first; what was typed is kept then.
    """
    import trio  # noqa: PLC0415

    from canary_trio.control.changes.difference import is_same  # noqa: PLC0415
    from canary_trio.control.changes.reading import read_document  # noqa: PLC0415

    async def read(client: DocumentSource) -> tuple[bytes, int]:
        writing.check_writable(client)
        return await read_document(client, service)

    given, revision = store_options.ask(how.config_server, read)
    typed = _Typed.begin(service, given.decode("utf-8", "replace"))
    try:
        document = _edit(service, typed, revision)
        if document is None or is_same(document, _valid(service, typed.given)):
            typed.path.unlink()
            click.echo("nothing changed; no revision is written")
            return

        async def edited(_: DocumentSource) -> Draft:
            await trio.lowlevel.checkpoint()
            return Draft(document, revision)

        writing.write(service, edited, how)
    except BaseException as exc:
        if not (isinstance(exc, SystemExit) and exc.code == _WRITTEN):
            click.echo(f"canary: {typed.keep()}", err=True)
            raise
        typed.path.unlink()
        raise
    typed.path.unlink()


@attrs.frozen
class _Typed:
    """The file in which a document is edited.

    Attributes:
        path: of the file.
        given: the document as it was.
    """

    path: Path
    given: str

    @classmethod
    def begin(cls, service: str, given: str) -> _Typed:
        """Make a file that only its owner may read."""
        descriptor, name = tempfile.mkstemp(f".{service}.jsonc", "canary-")
        os.close(descriptor)
        return cls(Path(name), given)

    def write(self, text: str) -> None:
        """Write all of it."""
        self.path.write_bytes(text.encode("utf-8", "surrogateescape"))

    def read(self) -> str:
        """Read it, without the lines at its top that we wrote."""
        return _bare(self.path.read_bytes().decode("utf-8", "surrogateescape"))

    def keep(self) -> str:
        """Leave what was typed, without our lines; say where it is."""
        try:
            found = self.read()
            if found == self.given or not found:
                self.path.unlink()
                return "nothing was typed, and nothing is written"
            self.write(found)
        except OSError as exc:
            return f"{self.path} cannot be read: {exc.strerror}"
        return f"nothing is written; what was typed is in {self.path}"


def _edit(service: str, typed: _Typed, revision: int) -> dict[str, Any] | None:
    """Let the user edit until it is valid; None if the file is emptied."""
    text, faults = typed.given, list[str]()
    for _ in range(ROUNDS):
        what = f"The document of {service}, revision {revision}."
        head = [
            f"{what} Lines at the top that begin with {_MARK} are left out.",
            "Save it as it is, or empty, to give up.",
            *(f"FAULT {fault}" for fault in faults),
        ]
        typed.write("".join(f"{_MARK} {line}\n" for line in head) + text)
        _run_editor(typed.path)
        edited = typed.read()
        if not edited.strip():
            return None
        found = _faults_of(service, edited)
        if isinstance(found, dict):
            return found
        if edited == text and faults:
            store_options.fail(*found)
        text, faults = edited, found
    store_options.fail(*faults, f"not valid after {ROUNDS} times in the editor")
    return None


def _bare(text: str) -> str:
    """Give text without the lines at its top that we wrote."""
    lines = text.splitlines(keepends=True)
    while lines and lines[0].startswith(_MARK):
        del lines[0]
    return "".join(lines)


def _valid(service: str, text: str) -> dict[str, Any] | None:
    found = _faults_of(service, text)
    return found if isinstance(found, dict) else None


def _faults_of(service: str, text: str) -> dict[str, Any] | list[str]:
    """Give the document that a text is, or else what is wrong with it."""
    from canary_trio.config.document import parse  # noqa: PLC0415
    from canary_trio.control.changes.documents import check_document  # noqa: PLC0415
    from canary_trio.errors import InvalidConfig  # noqa: PLC0415

    try:
        document = parse(text)
        check_document(service, document)
    except InvalidConfig as exc:
        return [str(problem) for problem in exc.problems]
    return document


def _run_editor(path: Path) -> None:
    """Run the user's editor on a file until it ends."""
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or _EDITOR
    try:
        words = shlex.split(command)
        status = subprocess.call([*words, path])  # noqa: S603  # the user's own
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else exc
        store_options.fail(
            f"cannot run the editor {command!r} ($VISUAL, $EDITOR): {why}"
        )
    if status:
        store_options.fail(f"the editor {command!r} ended with status {status}")
