"""Secrets of many services that have none yet, made in few requests.

A gateway that starts where no proxy ran before finds no secret for any of its services. By
`SecretKeeper.agree` each would cost four requests. What is not that simple is left to it: a
service whose proxies may give a lost secret back, a write that another proxy was first with,
a store that has no trees in its transactions.
"""

from __future__ import annotations

import trio

from canary_trio.control.fleet_secret import FleetSecret
from canary_trio.control.secret_keeper import SecretKeeper
from canary_trio.control.sources.source import KeyStore
from canary_trio.control.store_keys import proxies_prefix
from kv_trio import KvError, TxnOperation

TOGETHER = 64
"""Secrets in one transaction at most: what every Consul takes."""

ASKING_AT_ONCE = 6
"""Services that ask the store of their secrets one by one at a time: so twenty gateways of one
address stay below the 200 connections that a Consul lets it have."""


class SecretMaker:
    """Makes the secrets of those who ask at a time together."""

    def __init__(self) -> None:
        """Begin with nobody who asks."""
        self._waiting: dict[SecretKeeper, None] = {}
        self._turn = trio.Lock()
        self._asking = trio.CapacityLimiter(ASKING_AT_ONCE)

    def __repr__(self) -> str:
        return f"<SecretMaker for {len(self._waiting)}>"

    async def agree(self, client: KeyStore, keeper: SecretKeeper) -> None:
        """Make the secret of a service, as `SecretKeeper.agree` does.

        Who has its turn makes those of all who wait by then. Cancelled, it leaves them to
        agree by themselves.

        Raises:
            KvError: the store cannot be asked, or holds none, and neither do we.
        """
        self._waiting[keeper] = None
        try:
            async with self._turn:
                if keeper in self._waiting:
                    waiting, self._waiting = [*self._waiting], {}
                    for start in range(0, len(waiting), TOGETHER):
                        await _make(client, waiting[start : start + TOGETHER])
        except KvError:
            pass  # what cannot be done together is tried alone, and fails with words
        finally:
            self._waiting.pop(keeper, None)
        if keeper.secret is None:
            await self.ask(client, keeper)

    async def ask(self, client: KeyStore, keeper: SecretKeeper) -> None:
        """Let a keeper agree by itself, or give back what is lost, when it is its turn.

        Raises:
            KvError: as above.
        """
        async with self._asking:
            if keeper.secret is None:
                await keeper.agree(client)
            else:
                await keeper.take(client, None)


async def _make(client: KeyStore, keepers: list[SecretKeeper]) -> None:
    """Make the secrets of services that nobody else serves."""
    prefixes = [proxies_prefix(keeper.service) for keeper in keepers]
    trees = [TxnOperation("get-tree", prefix) for prefix in prefixes]
    found = [entry.key.decode() for entry in (await client.transact(trees)).results]
    alone = [
        keeper
        for keeper, prefix in zip(keepers, prefixes, strict=True)
        if keeper.secret is None and not any(key.startswith(prefix) for key in found)
    ]
    if not alone:
        return
    secrets = [FleetSecret.draw() for _ in alone]
    writes = [
        TxnOperation("cas", keeper.key, secret.dump(), index=0)
        for keeper, secret in zip(alone, secrets, strict=True)
    ]
    if (await client.transact(writes)).done:
        for keeper, secret in zip(alone, secrets, strict=True):
            keeper.use(secret)
