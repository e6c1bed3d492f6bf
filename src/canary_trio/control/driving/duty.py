"""What a driver does for a service: the protocol of duties, and what they are given. Pure."""

from __future__ import annotations

import json
from typing import Any, Protocol

import attrs

from canary_trio.control.sources.source import KeyStore
from canary_trio.control.store_keys import driver_key, driver_state_key
from kv_trio import TxnOperation


@attrs.frozen
class KeptState:
    """What a driver leaves to the next one.

    Attributes:
        by: the proxy that wrote it.
        at: when, in milliseconds since 1970 by its clock.
        state: what its duties keep, by their names; parsed JSON.
    """

    by: str = ""
    at: int = 0
    state: dict[str, Any] = attrs.field(factory=dict)

    @staticmethod
    def load(text: bytes | None) -> KeptState:
        """Read it; what nobody can read is as if nothing was there.

        >>> KeptState.load(b'{"by": "a", "at": 5}').by, KeptState.load(b"?").at
        ('a', 0)
        """
        try:
            found = json.loads(text or b"{}")
            by, at, state = found["by"], found["at"], found.get("state", {})
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return KeptState()
        if not isinstance(state, dict) or not isinstance(at, int):
            return KeptState()
        return KeptState(str(by), at, state)

    def dump(self) -> bytes:
        """Write it."""
        return json.dumps(attrs.asdict(self, recurse=False)).encode()


@attrs.define(eq=False)
class Turn:
    """A time in which this proxy drives a service.

    Attributes:
        client: of the store.
        service: that is driven.
        proxy_id: who drives it.
        session: that holds the lock.
        kept: what is left to the next driver.
    """

    client: KeyStore = attrs.field(repr=False)
    service: str
    proxy_id: str
    session: str
    kept: KeptState = attrs.field(factory=KeptState, repr=False)

    async def keep(self, name: str, state: Any, at_ms: int) -> bool:
        """Leave a duty's state to the next driver; False if somebody else drives now.

        Args:
            name: of the duty.
            state: parsed JSON; None for nothing.
            at_ms: the time.

        Raises:
            KvError: the store cannot be written.
        """
        states = {**self.kept.state, name: state}
        states = {key: one for key, one in states.items() if one is not None}
        return await self.show(at_ms, states)

    async def show(self, at_ms: int, states: dict[str, Any] | None = None) -> bool:
        """Show that this proxy drives now; False if somebody else does.

        Raises:
            KvError: the store cannot be written.
        """
        found = self.kept.state if states is None else states
        kept = KeptState(self.proxy_id, at_ms, found)
        check = TxnOperation(
            "check-session", driver_key(self.service), session=self.session
        )
        write = TxnOperation("set", driver_state_key(self.service), kept.dump())
        done = (await self.client.transact([check, write])).done
        if done:
            self.kept = kept
        return done


class Duty(Protocol):
    """Something that one proxy is to do for a service while it is due.

    What it writes is compare-and-set, so that two that do it at once are harmless.
    """

    @property
    def name(self) -> str:
        """What it is called in logs, the status and the state that is kept."""

    @property
    def is_due(self) -> bool:
        """Whether somebody must drive for it; whoever changes it calls `Driver.look`."""

    @property
    def knows_less(self) -> bool:
        """Whether others may know more of it, so that this proxy lets them be first."""

    def look(self) -> None:
        """Look again: another document is live, or the session is another one."""

    async def run(self, turn: Turn) -> None:
        """Do it; return once it is not due any more.

        It is cancelled when this proxy does not drive any more. A `KvError` is told, and
        it is run again after a pause.
        """
