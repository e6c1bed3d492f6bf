"""What can go wrong on the wire, named by condition.

`ProtocolError` and its leaves are raised by the pure modules, which know the rule
that was broken; the event loop turns them into a response or a closed connection. A
server that fails is no error but a value, see `upstream/failure.py`.
"""

from __future__ import annotations


class HttpError(Exception):
    """The root of the errors of this package."""


class BadBind(HttpError):
    """An address to listen on makes no sense, or cannot be had. The operator's fault.

    The message names the address, what is wrong with it, and what to do.
    """


class BadCertificate(HttpError):
    """A certificate, its key or an authority cannot be used. The operator's fault.

    The message names the file and what is wrong with it.
    """


class ProtocolError(HttpError):
    """The other side broke the rules of HTTP/1.1; its connection is of no further use."""


class BadRequest(ProtocolError):
    """A request that cannot be accepted. The client's fault; not to be retried as is.

    Attributes:
        status: the status code to answer with.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class BadResponse(ProtocolError):
    """A response that cannot be passed on. The upstream's fault; answered with 502."""
