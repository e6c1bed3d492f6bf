"""The files of the page, from the package, with the fields that keep a browser from misuse.

They are few and small, are read once, and asked for by their names alone: no path leads
anywhere else. They hold no data, so nobody needs a role for them; what runs in them is theirs
alone: no script, style or connection but of this listener, no frame around it, and no text
ever becomes markup (`require-trusted-types-for`).
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from pathlib import Path

import attrs
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from canary_trio.console.api.answers import NotThere

DIRECTORY = Path(__file__).with_name("page")
"""Where they are."""

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
}
"""The kinds of files that there may be."""

POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'"),
        *("connect-src 'self'", "img-src 'self'", "base-uri 'none'"),
        *("form-action 'none'", "frame-ancestors 'none'", "manifest-src 'self'"),
        *("require-trusted-types-for 'script'", "trusted-types 'none'"),
    )
)
"""The Content-Security-Policy of all of them."""

FIELDS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}
"""Of each of them."""


@attrs.frozen
class PageFile:
    """One file.

    Attributes:
        kind: its content type.
        data: its content.
        packed: the same, as gzip.
        etag: tells it from what it was before.
    """

    kind: str
    data: bytes = attrs.field(repr=False)
    packed: bytes = attrs.field(repr=False)
    etag: str


class PageFiles:
    """The pages."""

    def __init__(self, directory: Path = DIRECTORY) -> None:
        """Read what is there."""
        self._files = read_files(directory)

    def __repr__(self) -> str:
        return f"<PageFiles {', '.join(self._files)}>"

    async def to_page(self, request: Request) -> Response:
        """Lead to the page."""
        below = request.scope.get("root_path", "")
        return RedirectResponse(f"{below}/console/", 307, FIELDS)

    async def show(self, request: Request) -> Response:
        """Give a file; without a name, the page."""
        name = request.path_params.get("name") or "index.html"
        found = self._files.get(name)
        if found is None:
            raise NotThere(f"there is no file {name[:80]!r} of the console")
        fields = {**FIELDS, "ETag": found.etag}
        if found.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=fields)
        accepts = request.headers.get("accept-encoding", "")
        if "gzip" in accepts and len(found.packed) < len(found.data):
            fields["Content-Encoding"] = "gzip"
            return Response(found.packed, 200, fields, found.kind)
        return Response(found.data, 200, fields, found.kind)


def read_files(directory: Path) -> Mapping[str, PageFile]:
    """Read the files below a directory that are of `TYPES`, by their paths there."""
    found = {}
    for path in sorted(directory.rglob("*")) if directory.is_dir() else ():
        kind = TYPES.get(path.suffix)
        if kind is not None and path.is_file():
            data = path.read_bytes()
            digest = hashlib.sha256(data).hexdigest()[:20]
            packed = gzip.compress(data, 9, mtime=0)
            name = path.relative_to(directory).as_posix()
            found[name] = PageFile(kind, data, packed, f'"{digest}"')
    return found
