"""From a URL to a source, by its scheme."""

from __future__ import annotations

import os
from collections.abc import Callable

from canary_trio.control.sources.kv import KvSource
from canary_trio.control.sources.source import DocumentSource


def open_source(
    url: str,
    *,
    token: str | Callable[[], str | None] | None = None,
    ca_file: str | os.PathLike[str] | None = None,
) -> DocumentSource:
    """Make the source that a URL names; nothing is sent before it is entered.

    Args:
        url: of the source.
        token: the secret that its server is shown, or what gives it for each request.
        ca_file: the authorities that a server with TLS is verified by, as PEM; by
            default the system's.

    Raises:
        http_trio.BadCertificate: the authorities cannot be read.
    """
    return KvSource(url, token=token, ca_file=ca_file)
