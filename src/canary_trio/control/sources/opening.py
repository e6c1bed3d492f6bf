"""From a URL to a source, by its scheme; only that kind of source is imported."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from canary_trio.errors import BadSource

if TYPE_CHECKING:
    from canary_trio.control.sources.source import DocumentSource

SCHEMES = {
    "http": "a kv-trio or a Consul",
    "https": "the same with TLS",
    "etcd": "an etcd, such as etcd://10.0.0.1:2379,10.0.0.2:2379",
    "etcds": "the same with TLS",
    "file": "a file, file:///PATH/FILE.json, or the files of file:///DIRECTORY/",
    "http+poll": "a server that is asked every update_rate seconds",
    "https+poll": "the same with TLS",
}
"""What each scheme stands for."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def open_source(
    url: str,
    *,
    token: str | Callable[[], str | None] | None = None,
    ca_file: str | os.PathLike[str] | None = None,
    cert_file: str | os.PathLike[str] | None = None,
) -> DocumentSource:
    """Make the source that a URL names; nothing is sent before it is entered.

    Args:
        url: of the source.
        token: the secret that its server is shown, an etcd's is `NAME:PASSWORD`; or what
            gives it for each request.
        ca_file: the authorities that a server with TLS is verified by, as PEM; by
            default the system's.
        cert_file: the certificate that it is shown, as PEM with its private key.

    Raises:
        BadSource: there is no such source.
        http_trio.BadCertificate: the authorities cannot be read.
    """
    scheme = _scheme_of(url)
    if scheme in ("http", "https"):
        from canary_trio.control.sources.kv import KvSource  # noqa: PLC0415

        return KvSource(url, token=token, ca_file=ca_file, cert_file=cert_file)
    if scheme in ("etcd", "etcds"):
        from canary_trio.control.sources.etcd import EtcdSource  # noqa: PLC0415

        try:
            return EtcdSource(url, token=token, ca_file=ca_file, cert_file=cert_file)
        except ValueError as exc:
            raise BadSource(str(exc)) from exc
    if scheme == "file":
        from canary_trio.control.sources.file import FileSource  # noqa: PLC0415

        return FileSource(url)
    if scheme in ("http+poll", "https+poll"):
        from canary_trio.control.sources.poll import PollSource  # noqa: PLC0415

        return PollSource(url, token=token, ca_file=ca_file, cert_file=cert_file)
    known = ", ".join(f"{name}:// ({what})" for name, what in SCHEMES.items())
    shown = re.sub(r"//[^/@]*@", "//...@", url)
    raise BadSource(f"found the source {shown!r}, expected one of {known}")


def check_source(
    url: str,
    token: str | None,
    ca_file: str | None,
    *,
    cert_file: str | None = None,
    is_gateway: bool = False,
    writes: bool = False,
) -> None:
    """Check that a URL names a source that will do, while what is wrong is a plain error.

    Args:
        url: of the source.
        token: that it is shown.
        ca_file: that its server is verified by.
        cert_file: that it is shown.
        is_gateway: whether many documents are read.
        writes: whether a first document is to be written.

    Raises:
        BadSource, http_trio.BadCertificate: as `open_source`.
    """
    from canary_trio.control.sources.read_only import ReadOnlySource  # noqa: PLC0415
    from http_trio import client_context  # noqa: PLC0415

    if ca_file is not None or cert_file is not None:
        client_context(ca=ca_file, cert=cert_file)
    source = open_source(url, token=token)
    if not isinstance(source, ReadOnlySource):
        return
    if is_gateway and not source.is_directory:
        raise BadSource(
            f"{url} is one document, and a gateway has one for each service; expected the"
            " URL of a directory, with / at its end"
        )
    if writes:
        raise BadSource(f"--bootstrap cannot write to {url}: {source.read_only}")


def server_url(url: str) -> str:
    """Give a URL as its source has it: a / at the end says that it is a directory."""
    keeps = _scheme_of(url) in ("file", "http+poll", "https+poll")
    return url if keeps else url.rstrip("/")


def _scheme_of(url: str) -> str:
    found = _SCHEME.match(url)
    return found[1].lower() if found else ""
