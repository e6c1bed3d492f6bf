"""What is asked, how often, and for how long. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import attrs

from canary_trio.config.codec import Fault
from canary_trio.config.url import REQUEST_URL, UrlParts
from canary_trio.rollout.latency import Latencies
from canary_trio.routing.request.request_spec import BadRequestSpec, RequestSpec

RATE = 100.0
"""Requests a second to each URL, if nothing else is said."""

SECONDS = 10.0
"""How long it is measured, if nothing else is said."""

WARM_UP_S = 1.0
"""How long it is asked before it is measured, if nothing else is said."""

TIMEOUT_S = 10.0
"""How long a request may take, if nothing else is said."""

CONNECTIONS = 1000
"""Requests under way at each URL, at most, if nothing else is said; others wait."""

BODY_BYTES = 16 * 1024 * 1024
"""Of a request's body, at most."""


@attrs.frozen
class BenchTarget:
    """A URL that is measured.

    Attributes:
        url: as it was written.
        host: where to connect to, and by which port.
        secure: whether over TLS.
    """

    url: str
    host: UrlParts
    secure: bool


@attrs.frozen
class BenchRequest:
    """What each URL is asked.

    Attributes:
        method: such as `GET`.
        headers: fields, as (name, value).
        body: sent with each request; None for none.
    """

    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None

    def render(self, target: BenchTarget) -> bytes:
        """Give it as bytes of HTTP/1.1.

        Raises:
            ValueError: it cannot be sent so.
        """
        said = {name.lower() for name, _ in self.headers}
        if refused := said & {"content-length", "transfer-encoding", "connection"}:
            raise ValueError(
                f"found the header {min(refused)!r}, expected none that says how the"
                " request is sent: --body does"
            )
        fields = list(self.headers)
        if "user-agent" not in said:
            fields.append(("User-Agent", "canary-bench"))
        if "accept" not in said:
            fields.append(("Accept", "*/*"))
        try:
            head = RequestSpec(self.method, target.url, tuple(fields)).head()
        except BadRequestSpec as exc:
            problems = "; ".join(map(str, exc.problems))
            raise ValueError(problems) from exc
        if self.body is None:
            return head.raw
        length = b"Content-Length: %d\r\n\r\n" % len(self.body)
        return head.raw[:-2] + length + self.body


@attrs.frozen(kw_only=True)
class LoadPlan:
    """How much is asked.

    Attributes:
        rate: requests a second to each URL, for the open loop; None for the closed one.
        concurrency: requests under way at each URL, in the closed loop.
        seconds: how long it is measured.
        requests: of each URL, after which it ends sooner; None for no such number.
        warm_up_s: before it is measured, how long the same is asked.
        seed: by which it is drawn who comes first.
    """

    rate: float | None = RATE
    concurrency: int = 1
    seconds: float = SECONDS
    requests: int | None = None
    warm_up_s: float = WARM_UP_S
    seed: int = 1


@attrs.frozen
class GeneratorCost:
    """What the generator did itself while it measured.

    Attributes:
        cpu_s: its processor time.
        wall_s: how long it measured.
        lateness: how much later than due requests were sent; open loop only.
        unfinished: requests that had not ended when it was interrupted.
        interrupted: whether it was.
        held_up: requests that waited since as many as may be were under way.
    """

    cpu_s: float
    wall_s: float
    lateness: Latencies = attrs.field(factory=dict)
    unfinished: int = 0
    interrupted: bool = False
    held_up: int = 0

    @property
    def busy(self) -> float:
        """Which part of a core it used."""
        return self.cpu_s / self.wall_s if self.wall_s else 0.0


def read_target(url: str) -> BenchTarget:
    """Take a URL apart.

    >>> read_target("https://example.org/a?b=1").host
    UrlParts(host='example.org', port=443, prefix='', path='')

    Raises:
        ValueError: it is none.
    """
    try:
        checked: str = REQUEST_URL.decode(url)
    except Fault as exc:
        raise ValueError(f"found {exc.found}, expected {exc.expected}") from exc
    parts = urlsplit(checked)
    secure = parts.scheme == "https"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = parts.port or (443 if secure else 80)
    return BenchTarget(checked, UrlParts(host or "", port), secure)


def read_headers(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Take `NAME: VALUE` apart.

    Raises:
        ValueError: one is none.
    """
    found = []
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise ValueError(f"found {text!r}, expected 'NAME: VALUE'")
        found.append((name.strip(), value.strip()))
    return tuple(found)
