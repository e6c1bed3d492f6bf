"""HTTP/1.1 on trio, fast: a server, a proxy's wire, and one kind of handler."""

from http_trio.asgi.app import AsgiApp, as_asgi
from http_trio.errors import (
    BadAnswer,
    BadBind,
    BadCertificate,
    BadRequest,
    HttpError,
    ProtocolError,
)
from http_trio.http1.forwarded import Forwarding
from http_trio.http1.response import Answer, refusal
from http_trio.limits import Limits, Waits
from http_trio.net.bind import address_of, open_listeners
from http_trio.net.connect import Address
from http_trio.net.process import collect_seldom, count_processors, file_stamp
from http_trio.net.tls_context import Tls, client_context
from http_trio.proxy.forward import forward, upstream_request_of
from http_trio.proxy.hooks import Delivery, ForwardedRequest, Retry
from http_trio.proxy.upstream_request import Transit
from http_trio.serve import Server, serve
from http_trio.server.exchange import Exchange, Handler
from http_trio.server.fan_out import respond_all
from http_trio.upstream.failure import Condition, Failure
from http_trio.upstream.fetch import Fetched, NoAnswer, fetch
from http_trio.upstream.pool import Upstream

__all__ = [
    "Address",
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
    "Fetched",
    "ForwardedRequest",
    "Forwarding",
    "Handler",
    "HttpError",
    "Limits",
    "NoAnswer",
    "ProtocolError",
    "Retry",
    "Server",
    "Tls",
    "Transit",
    "Upstream",
    "Waits",
    "address_of",
    "as_asgi",
    "client_context",
    "collect_seldom",
    "count_processors",
    "fetch",
    "file_stamp",
    "forward",
    "open_listeners",
    "refusal",
    "respond_all",
    "serve",
    "upstream_request_of",
]
