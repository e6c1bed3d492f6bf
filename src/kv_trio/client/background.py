"""A task in the background of a block of code, without a nursery that its user sees."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def run_in_background(run: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Run a task beside a block; when one of them ends, the other is cancelled.

    What the block raises comes out as it is, not in a group, since the task is nothing
    that its writer knows of. The task must not raise.
    """
    raised: BaseException | None = None
    async with trio.open_nursery() as nursery:

        async def run_and_end() -> None:
            await run()
            nursery.cancel_scope.cancel()

        nursery.start_soon(run_and_end)
        try:
            yield
        except trio.Cancelled:
            raise
        except BaseException as exc:  # raised again, outside of the nursery
            raised = exc
        nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised
