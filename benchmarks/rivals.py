"""The proxies that ours is measured beside, each with one thread and one core.

All balance over the same two upstreams by round robin, keep connections to them, and
say of the client what ours says (`X-Forwarded-For`, `-Proto`, `-Host`, `Via`). What is
not set here is the default of the Debian package.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.peers import directory, nginx, process, python, wait_for_port
from http_trio.testing.ports import free_port

Running = Iterator[tuple[int, int]]
"""A proxy's port and its process."""

_NGINX = """
  upstream arms {{ server 127.0.0.1:{one}; server 127.0.0.1:{two}; keepalive 512;
                   keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096 {tls}; {server}
    location / {{ {more}
    proxy_pass http://arms; proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $host;
    proxy_set_header Via "1.1 nginx"; }} }}
"""
_HAPROXY = """
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 3s
  timeout client 75s
  timeout server 30s
  http-reuse always
frontend clients
  bind 127.0.0.1:{port} backlog 4096 {tls}
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request add-header Via "1.1 haproxy"
  default_backend arms
backend arms
  balance roundrobin
  server one 127.0.0.1:{one}
  server two 127.0.0.1:{two}
"""
_CADDY = """
{{
  admin off
  auto_https off
  servers {{
    protocols h1 h2
  }}
}}
{scheme}://:{port} {{
  bind 127.0.0.1
  {tls}
  reverse_proxy 127.0.0.1:{one} 127.0.0.1:{two} {{
    lb_policy round_robin
    transport http {{
      keepalive_idle_conns_per_host 512
    }}
  }}
}}
"""


def make_certificate(path: Path) -> Path:
    """Make a certificate for this machine, with its key, in one file."""
    key, certificate = path / "key.pem", path / "certificate.pem"
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-days", "2", *curve, *subject),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    certificate.write_bytes(certificate.read_bytes() + key.read_bytes())
    return certificate


@contextlib.contextmanager
def nginx_proxy(
    cpu: int, one: int, two: int, *, more: str = "", certificate: Path | None = None
) -> Running:
    """Run nginx before the two.

    Args:
        cpu: its processor.
        one: the port of one upstream.
        two: the port of the other.
        more: directives for the location.
        certificate: a file with a certificate and its key: TLS is spoken, and HTTP/2
            is offered.
    """
    port = free_port()
    tls = "ssl http2" if certificate else ""
    server = f"ssl_certificate {certificate}; ssl_certificate_key {certificate};"
    body = _NGINX.format(
        port=port, one=one, two=two, more=more, tls=tls, server=server if tls else ""
    )
    with nginx(cpu, body, port) as running:
        yield port, running.pid


@contextlib.contextmanager
def haproxy(
    cpu: int, one: int, two: int, *, certificate: Path | None = None
) -> Running:
    """Run HAProxy, with one thread, before the two; as `nginx_proxy`."""
    port = free_port()
    tls = f"ssl crt {certificate} alpn h2,http/1.1" if certificate else ""
    with directory() as path:
        config = path / "haproxy.cfg"
        config.write_text(_HAPROXY.format(port=port, one=one, two=two, tls=tls))
        with process(cpu, "haproxy", "-db", "-f", config) as running:
            wait_for_port(port)
            yield port, running.pid


@contextlib.contextmanager
def caddy(cpu: int, one: int, two: int, *, certificate: Path | None = None) -> Running:
    """Run Caddy, with GOMAXPROCS=1, before the two; as `nginx_proxy`."""
    port = free_port()
    scheme = "https" if certificate else "http"
    tls = f"tls {certificate} {certificate}" if certificate else ""
    text = _CADDY.format(port=port, one=one, two=two, scheme=scheme, tls=tls)
    with directory() as path:
        config = path / "Caddyfile"
        config.write_text(text)
        words = ("caddy", "run", "--adapter", "caddyfile", "--config", config)
        home = {"HOME": str(path), "XDG_DATA_HOME": str(path), "GOMAXPROCS": "1"}
        with process(cpu, *words, **home) as running:
            wait_for_port(port)
            yield port, running.pid


@contextlib.contextmanager
def copier(cpu: int, one: int) -> Running:
    """Run the floor of a design of trio tasks: bytes copied, nothing understood."""
    port = free_port()
    words = ("-m", "benchmarks.copier", port, one)
    with process(cpu, *python(*words)) as running:
        wait_for_port(port)
        yield port, running.pid
