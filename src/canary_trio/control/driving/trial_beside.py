"""What a proxy lets a share of its users try, beside the document that runs.

It is built as any document is, and where it cannot run here that is reported as any refusal
is, once: the present one goes on alone.
"""

from __future__ import annotations

from collections.abc import Callable

from canary_trio.config.document import build, parse
from canary_trio.control.changes.pending import PendingChange
from canary_trio.control.status import Status
from canary_trio.proxy.changing.trial import begin_trial
from canary_trio.proxy.changing.trial_split import trial_salt
from canary_trio.proxy.runtime import Runtime
from canary_trio.telemetry.events import EventKind


class TrialBeside:
    """Lets a share of the users of one service try a document.

    Args:
        service: whose.
        runtime: of the service.
        status: what is told of it.
        secrets: gives those that verify cookies; the first of them signs.
        tell: tells the fleet what runs now.
    """

    def __init__(
        self,
        service: str,
        runtime: Runtime,
        status: Status,
        *,
        secrets: Callable[[], tuple[bytes, ...]],
        tell: Callable[[], None],
    ) -> None:
        self._service = service
        self._runtime = runtime
        self._status = status
        self._secrets = secrets
        self._tell = tell
        self._refused = 0

    def __repr__(self) -> str:
        return f"<TrialBeside {self._service} {self.revision}>"

    @property
    def revision(self) -> int:
        """That is tried; 0 for none."""
        live = self._runtime.live
        return live.trial.revision if live is not None and live.trial is not None else 0

    async def follow(self, trial: PendingChange | None) -> None:
        """Try it, unless that is so, or it was refused; None to try none any more."""
        refused, status = self._refused, self._status
        if trial is None:
            self._refused = 0
            if (
                refused
                and status.failed is not None
                and status.failed.revision == refused
            ):
                status.failed = None
                self._tell()
            if self.revision:
                self._say(f"revision {self.revision} is tried no more", self.revision)
                self._runtime.try_beside(None)
                self._tell()
        elif trial.index not in (self.revision, refused):
            await self._begin(trial)
            self._tell()

    async def _begin(self, trial: PendingChange) -> None:
        try:
            config = build(parse(trial.document.encode()), service=self._service)
            await begin_trial(
                *(self._runtime, config, trial.index, self._secrets()),
                share=trial.share,
                salt=trial_salt(self._service, trial.document),
                judged=trial.judged,
            )
        except Exception as exc:
            self._refused = trial.index
            self._status.refuse_for(trial.index, exc)
        else:
            users = f"{trial.share / 100:g}% of users"
            self._say(f"revision {trial.index} is tried by {users}", trial.index)

    def _say(self, words: str, revision: int) -> None:
        self._status.events.tell(
            EventKind.CHANGE,
            f"{words}, of {self._service}",
            service=self._service,
            revision=revision,
        )
