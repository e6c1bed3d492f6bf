"""The tasks beside the requests, kept going whatever happens to them.

The rule that they obey: what goes wrong in the control plane never ends the data plane. A
task that raises what nobody foresaw is told in the log, with its traceback, counted by its
name (`canary_task_failures_total`), and begun again after a pause. The same error again is
counted only: a fault that lasts shall not fill the log.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from kv_trio import Backoff

_log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 10.0
"""The longest pause before a task that failed is begun again."""

STEADY_S = 30.0
"""How long a task must have gone on for its pauses to begin anew."""

_FIRST_PAUSE_S = 0.1


class TaskKeeper:
    """Keeps the tasks of one proxy.

    Attributes:
        failures: how often each has failed, by its name.
    """

    __slots__ = ("failures",)

    def __init__(self) -> None:
        self.failures: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<TaskKeeper failures={self.failures}>"

    async def run(self, name: str, task: Callable[[], Awaitable[None]]) -> None:
        """Run a task until it returns or is cancelled; begin it again when it fails.

        Args:
            name: of the task, for the metric and the log.
            task: gives a new run of it each time.
        """
        backoff = Backoff(_FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self.failures.setdefault(name, 0)
        told = ""
        while True:
            began = trio.current_time()
            try:
                await task()
            except Exception as exc:
                if trio.current_time() - began > STEADY_S:
                    backoff.reset()
                    told = ""
                told = self.note(name, exc, told)
            else:
                return
            await backoff.pause()

    def note(self, name: str, exc: Exception, told: str = "") -> str:
        """Count and tell a failure; give what is told now.

        Args:
            name: of what failed.
            exc: that it raised.
            told: what was told last of it, which is not told again.
        """
        self.failures[name] = self.failures.get(name, 0) + 1
        words = _words(exc)
        if words != told:
            _log.error("%s failed, and goes on: %s", name, words, exc_info=exc)
        return words


def _words(exc: BaseException) -> str:
    """Say what was raised; of a group, what is in it."""
    if isinstance(exc, BaseExceptionGroup):
        return "; ".join(map(_words, exc.exceptions))
    return f"{type(exc).__name__}: {exc}"
