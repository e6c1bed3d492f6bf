"""A request in words, as someone describes it who asks what would become of it. Pure.

It is read by the engine's own parser, so what it says is what a request would say.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

import attrs

from canary_trio.config.parts.checks import oddities
from canary_trio.errors import CanaryError, Problem
from http_trio.errors import BadRequest
from http_trio.hosts.addresses import parse_address
from http_trio.http1.request_head import RequestHead, parse_request_head
from http_trio.limits import Limits

_UNIX = "unix"  # what a client of a Unix socket is called
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*\Z")
_KEPT = "/%:?#[]@!$&'()*+,;=~"  # of a target: what is not percent-encoded again


class BadRequestSpec(CanaryError):
    """A request is not described in a way that it could be sent. The asker's fault.

    Attributes:
        problems: all that is wrong.
    """

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


@attrs.frozen
class CertificateSpec:
    """What a client's verified certificate would say.

    Attributes:
        subject: as RFC 4514 writes it, such as `CN=web,O=Example`.
        alternative_names: all of its kinds.
    """

    subject: str = ""
    alternative_names: tuple[str, ...] = ()

    @property
    def common_name(self) -> str | None:
        """The common name that stands in the subject."""
        for part in re.split(r"(?<!\\)[,+]", self.subject):
            if part.strip()[:3].upper() == "CN=":
                return re.sub(r"\\(.)", r"\1", part.strip()[3:])
        return None


@attrs.frozen
class RequestSpec:
    """A request as someone describes it.

    Attributes:
        target: a path with its query, or a URL, whose host is then asked for.
        headers: fields, as (name, value).
        client: the address that it comes from.
        secure: whether it comes over TLS.
        certificate: of the client; None for none.
    """

    method: str = "GET"
    target: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    client: str = "127.0.0.1"
    secure: bool = False
    certificate: CertificateSpec | None = None

    def head(self) -> RequestHead:
        """Give its head as the engine would parse it.

        Raises:
            BadRequestSpec: it could not be sent so.
        """
        host, target = self._where()
        if parse_address(self.client) is None and self.client != _UNIX:
            expected = "an IP address, or unix for a client of a socket of this machine"
            raise BadRequestSpec(Problem("$.client", _show(self.client), expected))
        lines = [f"{self.method} {target} HTTP/1.1"]
        if not any(name.lower() == "host" for name, _ in self.headers):
            lines.append(f"Host: {host}")
        for number, (name, value) in enumerate(self.headers):
            _check_field(number, name, value)
            lines.append(f"{name}: {value}")
        raw = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogatepass")
        try:
            return parse_request_head(raw, Limits())
        except BadRequest as exc:
            found = f"a request that is answered {exc.status}: {exc}"
            raise BadRequestSpec(Problem("$", found, "one that is HTTP/1.1")) from exc

    def _where(self) -> tuple[str, str]:
        if not _TOKEN.match(self.method):
            raise BadRequestSpec(Problem("$.method", _show(self.method), "a method"))
        url = self.target
        if url.startswith("/") or url == "*":
            return "localhost", quote(url, safe=_KEPT, errors="replace")
        parts = _split(url if "://" in url else f"http://{url}")
        if parts is None:
            expected = "a path such as /a?b=c, or a URL"
            raise BadRequestSpec(Problem("$.target", _show(url), expected))
        query = f"?{parts.query}" if parts.query else ""
        host = parts.netloc.rpartition("@")[2]
        return host, quote((parts.path or "/") + query, safe=_KEPT, errors="replace")


def read_description(text: bytes) -> RequestSpec:
    """Read a description from JSON: an object with the attributes of `RequestSpec`.

    `headers` is an object, or a list of pairs where a name comes twice.

    Raises:
        BadRequestSpec: with all of its faults.
    """
    shown = _parse(text)
    if not isinstance(shown, dict):
        raise BadRequestSpec(Problem("$", _show(shown), 'such as {"target": "/"}'))
    problems = []
    given: dict[str, Any] = {}
    for name, value in shown.items():
        kind = _KINDS.get(name)
        if kind is None:
            expected = f"one of {', '.join(_KINDS)}"
            problems.append(Problem(f"$.{name}", "an unknown field", expected))
        elif name == "headers":
            fields = _fields(value)
            if fields is None:
                problems.append(Problem("$.headers", _show(value), _HEADERS))
            given[name] = fields
        elif name == "certificate":
            found = _certificate(value)
            if found is None:
                problems.append(Problem(f"$.{name}", _show(value), _CERTIFICATE))
            given[name] = found
        elif not isinstance(value, kind):
            expected = "true or false" if kind is bool else "a string"
            problems.append(Problem(f"$.{name}", _show(value), expected))
        else:
            given[name] = value
    if problems:
        raise BadRequestSpec(*problems)
    return RequestSpec(**given)


def _parse(text: bytes) -> Any:
    try:
        shown = json.loads(text)
    except ValueError as exc:
        raise BadRequestSpec(Problem("$", f"no JSON ({exc})", "an object")) from exc
    except RecursionError as exc:
        nested = Problem("$", "values nested too deeply", "an object")
        raise BadRequestSpec(nested) from exc
    odd = tuple(oddities(shown))
    if odd:
        raise BadRequestSpec(*odd)
    return shown


_KINDS = {
    "method": str,
    "target": str,
    "headers": object,
    "client": str,
    "secure": bool,
    "certificate": object,
}
_CERTIFICATE = 'a table such as {"subject": "CN=web", "san": ["web.example.org"]}'
_HEADERS = 'an object of strings, or a list of pairs such as ["Cookie", "a=b"]'


def _fields(value: Any) -> tuple[tuple[str, str], ...] | None:
    pairs = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(pairs, list):
        return None
    fields = []
    for pair in pairs:
        match pair:
            case (str(name), str(text)) | [str(name), str(text)]:
                fields.append((name, text))
            case _:
                return None
    return tuple(fields)


def _certificate(value: Any) -> CertificateSpec | None:
    if not isinstance(value, dict) or not value.keys() <= {"subject", "san"}:
        return None
    subject, names = value.get("subject", ""), value.get("san", [])
    if not isinstance(subject, str) or not isinstance(names, list):
        return None
    if not all(isinstance(name, str) for name in names):
        return None
    return CertificateSpec(subject, tuple(names))


def _check_field(number: int, name: str, value: str) -> None:
    if not _TOKEN.match(name):
        path = f"$.headers[{number}]"
        raise BadRequestSpec(Problem(path, _show(name), "the name of a field"))
    if not _VALUE.match(value):
        expected = "a value without control characters"
        raise BadRequestSpec(Problem(f"$.headers[{number}]", _show(value), expected))


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return None
    return parts if known else None


def _show(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
