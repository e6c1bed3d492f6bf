"""Who asks by a route of a gateway: the checks of its table, made ready and followed.

The rule that it obeys: they are made before the table runs, so a table with a file of users
that is not there is refused, and what ran before stays.
"""

from __future__ import annotations

from collections.abc import Mapping

from canary_trio.errors import InvalidConfig, Problem
from canary_trio.proxy.auth.authenticator import Authenticator
from canary_trio.proxy.auth.making import RulesPlace
from canary_trio.proxy.runtime import Runtime
from canary_trio.routing.edge.model import GatewayConfig, Route
from canary_trio.routing.edge.table_codec import load_table
from http_trio import BadCertificate

Made = Mapping[int, Authenticator]
"""The checks of routes, by their places in the table."""


class RouteAuth:
    """The checks of the table that runs.

    Args:
        runtime: of the gateway; it has the connections to those who are asked.

    Attributes:
        by_name: the checks of the routes that have any, by the routes' names.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.by_name: dict[str, Authenticator] = {}

    def __repr__(self) -> str:
        return f"<RouteAuth of {list(self.by_name)}>"

    async def load(self, text: bytes) -> tuple[GatewayConfig, Made]:
        """Read a table, and make its checks ready.

        Raises:
            InvalidConfig: it is not valid, or names a file that cannot be used here.
        """
        config = load_table(text)
        return config, await self._make(config)

    async def _make(self, config: GatewayConfig) -> Made:
        made: dict[int, Authenticator] = {}
        for number, route in enumerate(config.routes):
            if route.basic_auth is None and route.forward_auth is None:
                continue
            place = RulesPlace(f"$.routes[{number}]", f" of {route.name}")
            before = self.by_name.get(route.name)
            try:
                auth = await self._runtime.make_auth(route, before, place)
            except BadCertificate as exc:
                path = f"{place.path}.forward_auth.tls"
                problem = Problem(path, str(exc), "files that can be used here")
                raise InvalidConfig([problem]) from exc
            assert auth is not None, "it has rules"
            made[number] = auth
        if made:
            await self._runtime.wait_names()
        return made

    def use(self, routes: tuple[Route, ...], made: Made) -> None:
        """Ask by these from the next request on."""
        self.by_name = {routes[number].name: auth for number, auth in made.items()}
        self._runtime.use_auth(made.values())

    async def run(self) -> None:
        """Follow the names and certificates of those who are asked, until cancelled."""
        await self._runtime.run()
