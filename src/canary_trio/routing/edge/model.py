"""The table of a gateway as frozen values. Pure.

A gateway is a named table of routes to services, such as `@edge`. Its document is at the
same place as a service's, and is written by the same commands; whose it is tells its name.

What is a `GatewayConfig` is valid: `table_codec.load_table` is the only way to one from
outside. It is replaced whole, never changed.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from canary_trio.config.access import RateLimit
from canary_trio.config.auth import BasicAuth, ForwardAuth
from canary_trio.config.policies import KeptHistory, described
from canary_trio.config.rules import Condition


@attrs.frozen
class Redirect:
    """The client is sent elsewhere.

    Attributes:
        to: a URL or a path, without what is added of the request.
        status: 301, 302, 303, 307 or 308.
        keep_path: whether what follows the route's prefix, and the query, are added.
    """

    to: str
    status: int = 308
    keep_path: bool = True


@attrs.frozen
class FixedResponse:
    """A response that needs no server."""

    status: int = described("Its status, 200 to 599.", default=200)
    body: str = described("Its content, at most 16 KiB of text.", default="")
    content_type: str = described(
        "The type of its content.", default="text/plain; charset=utf-8"
    )


@attrs.frozen
class Route:
    """Requests of one kind, and what becomes of them: one of the three last.

    Attributes:
        name: how it is called in logs.
        hosts: any of these, in lower case, perhaps with `*.` before; none for all.
        prefix: the path is this or goes on behind it with `/`; without a slash at its
            end, so "" is all paths.
        conditions: which must all hold; the method is one of them.
        rewrite: what takes the place of the prefix on the way to the service; None to
            let the path be.
        service: who serves them.
        redirect, response: what is answered here.
        rate_limits: how many of them may pass; where another route has a limit of the
            same name, it is the same limit.
        basic_auth, forward_auth: what they must pass before what their service asks for;
            None for nothing.
    """

    name: str
    hosts: tuple[str, ...]
    prefix: str
    conditions: tuple[Condition, ...]
    rewrite: str | None = None
    service: str | None = None
    redirect: Redirect | None = None
    response: FixedResponse | None = None
    rate_limits: tuple[RateLimit, ...] = ()
    basic_auth: BasicAuth | None = None
    forward_auth: ForwardAuth | None = None

    @property
    def target(self) -> str:
        """What becomes of its requests, in words."""
        if self.service is not None:
            return self.service
        if self.redirect is not None:
            return f"{self.redirect.status} to {self.redirect.to}"
        assert self.response is not None, "it is one of the three"
        return f"status {self.response.status}"

    @property
    def shown(self) -> Mapping[str, object]:
        """Give it as commands show it."""
        return {
            "route": self.name,
            "hosts": list(self.hosts),
            "path_prefix": self.prefix or "/",
            "service": self.service,
            "target": self.target,
        }


@attrs.frozen
class GatewayConfig:
    """A valid table.

    Attributes:
        routes: in the order of the document.
        update_rate: seconds after which the store is asked again at the latest.
        history: how many revisions of it are kept.
    """

    routes: tuple[Route, ...]
    update_rate: float = 30.0
    history: KeptHistory = KeptHistory()

    @property
    def services(self) -> tuple[str, ...]:
        """The services that are named, each once, in order."""
        named = (route.service for route in self.routes)
        return tuple(dict.fromkeys(name for name in named if name is not None))
