"""Large responses: sent in pieces, so that others are served between them.

One has a place from when its state is gathered until its last byte is taken; a share of
the places is one client's at most. Who finds none waits a little, and gets a 429 then. It
is never much further ahead than its reader, so it costs about as much memory for a slow
reader as for a quick one; one that is too slow is cut, for it holds a place and an old
state. One file, since
the places, the pieces and the pace are one bound.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import attrs
import trio

from http_trio import Exchange, Response
from kv_trio.consul.encode import (
    JSON,
    absent,
    bad_query,
    index_headers,
    index_of,
    visible_under,
)
from kv_trio.consul.listing import (
    SMALL_BYTES,
    SMALL_ITEMS,
    LargeListing,
    check_count,
    list_entries,
    list_keys,
    size_of,
)
from kv_trio.consul.parameters import Read
from kv_trio.errors import BadQuery
from kv_trio.limits import StoreLimits
from kv_trio.state.acl import Acl
from kv_trio.state.store import Store

AHEAD = 256 * 1024
"""Bytes that may wait for a reader before the next piece is written."""

PLACE_S = 10.0
"""Seconds for which a large response waits for a place before its client gets a 429."""

LEAST_RATE = 128 * 1024
"""Bytes a second that a reader takes at least, on the whole; else it is cut."""

_PACES_S = (0.002, 0.1)  # between two looks whether a reader has taken what waits
_SHARE = 2  # of the places, half are one client's at most


class Places:
    """Places for what is done for few at a time; a client has a share of them at most."""

    def __init__(self, count: int) -> None:
        self._all = trio.CapacityLimiter(count)
        self._each = max(1, count // _SHARE)
        self._of_client: dict[str, trio.CapacityLimiter] = {}

    def __repr__(self) -> str:
        return f"<Places taken={self.taken}>"

    @property
    def taken(self) -> int:
        """How many are taken."""
        return self._all.borrowed_tokens

    @contextlib.asynccontextmanager
    async def take(self, client: str) -> AsyncIterator[None]:
        """Take a place for a client until the end of the block.

        Raises:
            trio.TooSlowError: there was none for `PLACE_S`.
        """
        share = self._of_client.get(client)
        if share is None:
            share = self._of_client[client] = trio.CapacityLimiter(self._each)
        try:
            async with contextlib.AsyncExitStack() as held:
                with trio.fail_after(PLACE_S):
                    await held.enter_async_context(share)
                    await held.enter_async_context(self._all)
                yield
        finally:
            statistics = share.statistics()
            if not statistics.borrowed_tokens and not statistics.tasks_waiting:
                self._of_client.pop(client, None)


@attrs.define(eq=False)
class LargeResponses:
    """Sends what is too large to be written at once."""

    store: Store
    limits: StoreLimits
    places: Places = attrs.field(init=False)
    turn: trio.Lock = attrs.field(factory=trio.Lock)
    _last: tuple[Read, Acl, int, LargeListing | Response] | None = None

    @places.default
    def _(self) -> Places:
        return Places(self.limits.listings)

    def takes(self, read: Read, acl: Acl) -> bool:
        """Tell whether the response to a read of a prefix is a large one."""
        count = 0
        for prefix in acl.readable_under(read.key):
            count += self.store.count_under(prefix)
            if count > SMALL_ITEMS:
                return True
        if read.keys:
            return False
        entries = visible_under(self.store, read.key, acl)
        return sum(map(size_of, entries)) > SMALL_BYTES

    def respond(self, exchange: Exchange, read: Read, acl: Acl) -> None:
        """Answer a read of a prefix in pieces, with what there is when it has a place."""
        self.send(exchange, partial(self._gather, read, acl))

    def send(
        self,
        exchange: Exchange,
        gather: Callable[[], LargeListing | Response],
        *,
        is_written: bool = False,
    ) -> None:
        """Answer with a listing, which is gathered when there is a place for it.

        Args:
            exchange: whose client gets it.
            gather: gives it.
            is_written: whether the request took effect: then it is not refused, and
                where there is no place its connection ends without a response.
        """
        exchange.spawn(partial(self._send, gather, is_written))

    async def _send(
        self,
        gather: Callable[[], LargeListing | Response],
        is_written: bool,  # noqa: FBT001  # of a partial
        exchange: Exchange,
    ) -> None:
        try:
            async with self.places.take(exchange.client):
                async with self.turn:
                    listing = gather()
                if isinstance(listing, Response):
                    exchange.respond(listing)
                else:
                    start = Response(200, b"", JSON, listing.headers)
                    steps = listing.steps(self.limits)
                    await send_in_pieces(exchange, start, steps, self.turn)
        except BadQuery as exc:
            exchange.respond(bad_query(exc))
        except trio.TooSlowError:
            if is_written:
                exchange.cut()
            else:
                exchange.respond(too_many_responses())
        finally:
            if not self.places.taken:
                self._last = None  # nobody needs what it holds

    def _gather(self, read: Read, acl: Acl) -> LargeListing | Response:
        """Gather what a read of a prefix gives; for many who read the same it is done once."""
        index = self.store.index
        if self._last is None or self._last[:3] != (read, acl, index):
            self._last = read, acl, index, self._gather_anew(read, acl)
        return self._last[3]

    def _gather_anew(self, read: Read, acl: Acl) -> LargeListing | Response:
        store = self.store
        prefixes = acl.readable_under(read.key)
        count = sum(map(store.count_under, prefixes))
        if not count:
            return absent(store, read)
        check_count(count, self.limits)
        headers = index_headers(index_of(store, read))
        if read.keys:
            keys = [key for prefix in prefixes for key in store.keys_under(prefix)]
            return list_keys(keys, read, headers)
        return list_entries(visible_under(store, read.key, acl), read, headers)


def too_many_responses() -> Response:
    """Render the response to a request for which there was no place."""
    text = (
        b"too many large responses are being sent; ask for less, read them faster, or"
        b" raise the store's limit: --limit listings=NUMBER\n"
    )
    return Response(429, text, headers=((b"Retry-After", b"1"),))


async def send_in_pieces(
    exchange: Exchange, start: Response, pieces: Iterator[bytes], turn: trio.Lock
) -> None:
    """Answer with pieces, each made when the reader has taken most of those before.

    Args:
        exchange: whose client gets them; a reader that is too slow is cut.
        start: the status and the fields.
        pieces: empty ones are steps on the way, at which others are served.
        turn: who has it makes a piece; all others in the loop are served before the next.

    Raises:
        BadQuery: as `pieces` does, before the first that is not empty.
    """
    begun, sent = False, 0
    began = trio.current_time()
    while True:
        async with turn:
            piece = next(pieces, None)
        if piece is None:
            break
        if exchange.gone:
            return
        if not piece:
            continue
        if not begun:
            exchange.begin(start)
            begun = True
        sent += len(piece)
        exchange.send(piece)
        until = began + exchange.limits.write_s + sent / LEAST_RATE
        if exchange.behind > AHEAD and not await wait_taken(exchange, AHEAD, until):
            exchange.cut()
            return
    exchange.finish()


async def wait_taken(exchange: Exchange, ahead: int, until: float = math.inf) -> bool:
    """Wait until a reader has taken all but some bytes; give whether it did in time.

    Args:
        exchange: whose client reads.
        ahead: bytes that may wait for it.
        until: by trio's clock, when it counts as too slow.
    """
    pace_s, slowest_s = _PACES_S
    before = exchange.behind
    while exchange.behind > ahead:
        if trio.current_time() >= until:
            return False
        await trio.sleep(pace_s)
        pace_s = _PACES_S[0] if exchange.behind < before else min(2 * pace_s, slowest_s)
        before = exchange.behind
    return True
