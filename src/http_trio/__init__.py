"""HTTP/1.1 on trio, fast: a server, a proxy's wire, and one kind of handler."""

from typing import TYPE_CHECKING

from canary_health.face import lazy_face

if TYPE_CHECKING:
    from http_trio.asgi.app import AsgiApp, as_asgi
    from http_trio.asgi.hosted import Application, HostedApp
    from http_trio.errors import (
        BadBind,
        BadCertificate,
        BadRequest,
        BadResponse,
        HttpError,
        ProtocolError,
    )
    from http_trio.hosts.addresses import parse_address
    from http_trio.hosts.introduction import ProxyVersion
    from http_trio.hosts.site_check import KnownHosts, is_foreign_page
    from http_trio.http1.body_pace import BodyLimit
    from http_trio.http1.forwarded import ForwardedPolicy
    from http_trio.http1.response import Response, error_response
    from http_trio.http2.upstream.pool import Http2Upstream
    from http_trio.limits import Limits, Timeouts
    from http_trio.net.bind import (
        address_of,
        begins_with_proxy,
        bind_of,
        open_listeners,
    )
    from http_trio.net.certificates.pairs import ServedCertificate
    from http_trio.net.certificates.x509 import Certificate
    from http_trio.net.connect import Address
    from http_trio.net.event_loop import EventLoop
    from http_trio.net.process.followed_file import FollowedFile
    from http_trio.net.process.notices import Field, Notice, Tell, Trouble, by_logging
    from http_trio.net.process.port_handover import others_on_port
    from http_trio.net.process.process_life import ProcessLife
    from http_trio.net.process.resources import (
        count_processors,
        file_stamp,
        may_pass,
        open_to_append,
        opened_again,
        raise_file_limit,
        read_file,
        tune_gc,
    )
    from http_trio.net.process.service_manager import (
        ServiceManager,
        adopt_listener,
        inherited_listeners,
    )
    from http_trio.net.tls_context import Tls, client_context
    from http_trio.net.traffic_counts import TrafficCounts
    from http_trio.proxy.codings.compression import Compression
    from http_trio.proxy.forward import forward, upstream_request_of
    from http_trio.proxy.hooks import ForwardedRequest, ForwardHooks, Retry
    from http_trio.proxy.upstream_request import UpstreamRequest
    from http_trio.server.exchange import Exchange, Handler
    from http_trio.server.fan_out import respond_all
    from http_trio.server.https_redirect import HttpsRedirect
    from http_trio.server.introduction import introduce
    from http_trio.serving import HttpServer, serve
    from http_trio.upstream.channel import UpstreamChannel
    from http_trio.upstream.failure import Failure, FailureReason
    from http_trio.upstream.fetch import FetchResult, NoResponse, fetch, fetch_pooled
    from http_trio.upstream.introducing import IntroducingUpstream
    from http_trio.upstream.pool import Upstream
else:
    __getattr__, __dir__ = lazy_face(
        __name__,
        {
            "asgi.app": "AsgiApp as_asgi",
            "asgi.hosted": "Application HostedApp",
            "errors": "BadBind BadCertificate BadRequest BadResponse HttpError ProtocolError",
            "hosts.addresses": "parse_address",
            "hosts.introduction": "ProxyVersion",
            "hosts.site_check": "KnownHosts is_foreign_page",
            "http1.body_pace": "BodyLimit",
            "http1.forwarded": "ForwardedPolicy",
            "http1.response": "Response error_response",
            "http2.upstream.pool": "Http2Upstream",
            "limits": "Limits Timeouts",
            "net.bind": "address_of begins_with_proxy bind_of open_listeners",
            "net.certificates.pairs": "ServedCertificate",
            "net.certificates.x509": "Certificate",
            "net.connect": "Address",
            "net.event_loop": "EventLoop",
            "net.process.followed_file": "FollowedFile",
            "net.process.notices": "Field Notice Tell Trouble by_logging",
            "net.process.port_handover": "others_on_port",
            "net.process.process_life": "ProcessLife",
            "net.process.resources": "count_processors file_stamp may_pass open_to_append opened_again raise_file_limit read_file tune_gc",
            "net.process.service_manager": "ServiceManager adopt_listener inherited_listeners",
            "net.tls_context": "Tls client_context",
            "net.traffic_counts": "TrafficCounts",
            "proxy.codings.compression": "Compression",
            "proxy.forward": "forward upstream_request_of",
            "proxy.hooks": "ForwardedRequest ForwardHooks Retry",
            "proxy.upstream_request": "UpstreamRequest",
            "serving": "HttpServer serve",
            "server.exchange": "Exchange Handler",
            "server.fan_out": "respond_all",
            "server.https_redirect": "HttpsRedirect",
            "server.introduction": "introduce",
            "upstream.channel": "UpstreamChannel",
            "upstream.failure": "Failure FailureReason",
            "upstream.fetch": "FetchResult NoResponse fetch fetch_pooled",
            "upstream.introducing": "IntroducingUpstream",
            "upstream.pool": "Upstream",
        },
    )

__all__ = [
    "Address",
    "Application",
    "AsgiApp",
    "BadBind",
    "BadCertificate",
    "BadRequest",
    "BadResponse",
    "BodyLimit",
    "Certificate",
    "Compression",
    "EventLoop",
    "Exchange",
    "Failure",
    "FailureReason",
    "FetchResult",
    "Field",
    "FollowedFile",
    "ForwardHooks",
    "ForwardedPolicy",
    "ForwardedRequest",
    "Handler",
    "HostedApp",
    "Http2Upstream",
    "HttpError",
    "HttpServer",
    "HttpsRedirect",
    "IntroducingUpstream",
    "KnownHosts",
    "Limits",
    "NoResponse",
    "Notice",
    "ProcessLife",
    "ProtocolError",
    "ProxyVersion",
    "Response",
    "Retry",
    "ServedCertificate",
    "ServiceManager",
    "Tell",
    "Timeouts",
    "Tls",
    "TrafficCounts",
    "Trouble",
    "Upstream",
    "UpstreamChannel",
    "UpstreamRequest",
    "address_of",
    "adopt_listener",
    "as_asgi",
    "begins_with_proxy",
    "bind_of",
    "by_logging",
    "client_context",
    "count_processors",
    "error_response",
    "fetch",
    "fetch_pooled",
    "file_stamp",
    "forward",
    "inherited_listeners",
    "introduce",
    "is_foreign_page",
    "may_pass",
    "open_listeners",
    "open_to_append",
    "opened_again",
    "others_on_port",
    "parse_address",
    "raise_file_limit",
    "read_file",
    "respond_all",
    "serve",
    "tune_gc",
    "upstream_request_of",
]
