"""HTTP/1.1 on trio, fast: a server, a proxy's wire, and one kind of handler."""

from http_trio.answer import Answer, refusal
from http_trio.asgi import AsgiApp, as_asgi
from http_trio.delivery import Delivery, Retry
from http_trio.errors import (
    BadAnswer,
    BadBind,
    BadCertificate,
    BadRequest,
    Condition,
    Failure,
    HttpError,
    ProtocolError,
)
from http_trio.exchange import Exchange, Handler
from http_trio.fan_out import respond_all
from http_trio.forwarding import Forwarding
from http_trio.limits import Limits, Waits
from http_trio.listener import address_of
from http_trio.process import collect_seldom, count_processors
from http_trio.server import Server, open_listeners, serve
from http_trio.tls import Tls, client_context
from http_trio.upstream import Upstream

__all__ = [
    "Answer",
    "AsgiApp",
    "BadAnswer",
    "BadBind",
    "BadCertificate",
    "BadRequest",
    "Condition",
    "Delivery",
    "Exchange",
    "Failure",
    "Forwarding",
    "Handler",
    "HttpError",
    "Limits",
    "ProtocolError",
    "Retry",
    "Server",
    "Tls",
    "Upstream",
    "Waits",
    "address_of",
    "as_asgi",
    "client_context",
    "collect_seldom",
    "count_processors",
    "open_listeners",
    "refusal",
    "respond_all",
    "serve",
]
