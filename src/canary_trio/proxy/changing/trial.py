"""A document that some requests of a proxy try, beside the present one.

Two frozen documents live in one process: each request is served by one of them, from its
first byte to its last. The tried one has a `Runtime` of its own, so its servers, their health,
their limits and their connections are its own; what is counted of an arm is counted for the
arm, whichever document served, and beside that by document.

The rule that it obeys: while nothing is tried, nothing of this is there. It hangs on the
configuration that is tried beside: another document that comes live is without it.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import trio

from canary_trio.config.model import WHOLE, Config
from canary_trio.config.rollout import JudgeRules
from canary_trio.proxy.changing.trial_split import TrialSplit
from canary_trio.proxy.live import LiveConfig
from canary_trio.proxy.runtime import Runtime
from canary_trio.rollout.fleet.arm_tally import EPOCH_BYTES, Counting, CountingRule
from canary_trio.rollout.fleet.counting_rule import rule_by
from canary_trio.rollout.fleet.judge_state import JudgedArms
from canary_trio.routing.arm_references import references_to
from canary_trio.telemetry.counters import DocumentCounts
from canary_trio.telemetry.decision_labels import Side
from http_trio import Exchange

SIDES = JudgedArms("trial", "present")
"""What the two documents are called where they are compared."""


@attrs.frozen(eq=False)
class Trial:
    """A document that some requests try.

    Attributes:
        runtime: what they are served by.
        revision: of the document.
        share: of the users that try it, in ten-thousandths.
        split: which requests.
        present, tried: what was counted of the two documents since it began.
        counting: the same, for a judge.
        judged: whether there is one.
    """

    runtime: Runtime
    revision: int
    share: int
    split: TrialSplit
    present: DocumentCounts
    tried: DocumentCounts
    counting: Counting
    judged: bool = False

    def choose(self, exchange: Exchange) -> tuple[bool, bytes | None]:
        """Tell whether a request tries the document, and its user's key if he has none."""
        certificate = exchange.client_certificate
        return self.split.choose(
            exchange.head, exchange.client, self.runtime.chance, certificate
        )

    def beside(self, live: LiveConfig) -> LiveConfig:
        """Give the present document as it is while this one is tried."""
        side = Side(self.present, self.counting.tallies[SIDES.against])
        self.split.present = live.router
        return attrs.evolve(live, trial=self, labels=live.labels.beside(side))

    def told(self, tries: object) -> dict[str, object]:
        """Say what is tried, and whether a request tries it; None where nobody can say."""
        share = self.share / WHOLE
        return {"revision": self.revision, "share": share, "tries": tries}

    def references_to(self, arm: str) -> list[str]:
        """Say what of the document that is tried hangs on an arm."""
        live = self.runtime.live
        found = [] if live is None else references_to(live.config, arm)
        return [f"{one} of revision {self.revision}, which is tried" for one in found]

    @property
    def is_busy(self) -> bool:
        """Whether a request is in progress by it."""
        return self.runtime.is_busy

    def in_flight(self, arm: str) -> int:
        """Give its requests in progress at an arm."""
        return self.runtime.in_flight(arm)

    def use_secrets(self, secrets: Sequence[bytes]) -> None:
        """Sign and verify cookies with others from now on."""
        if self.runtime.live is not None:
            self.runtime.live.use_secrets(secrets)

    async def run(self) -> None:
        """Do what goes on beside its requests, until cancelled."""
        await self.runtime.run()

    def retire(self) -> None:
        """Let it serve nobody any more; what is in progress ends as it does."""
        self.runtime.retire()


async def run_trials(runtime: Runtime) -> None:
    """Do what goes on beside the requests of what is tried, until cancelled."""
    live = await runtime.wait_other(None)
    while True:
        trial = live.trial
        async with trio.open_nursery() as nursery:
            if trial is not None:
                nursery.start_soon(trial.run)
            while live.trial is trial:
                live = await runtime.wait_other(live)
            nursery.cancel_scope.cancel()


async def begin_trial(
    runtime: Runtime,
    config: Config,
    revision: int,
    secrets: tuple[bytes, ...],
    *,
    share: int,
    salt: bytes,
    judged: bool = False,
) -> None:
    """Let some users try a document beside the one that is live.

    Args:
        runtime: of the service.
        config: that is tried.
        revision: that it is known by.
        secrets: that verify cookies; the first of them signs.
        share: of the users, in ten-thousandths.
        salt: of their buckets.
        judged: whether what is counted of both is told to the fleet, for a judge.

    Raises:
        http_trio.BadCertificate, InvalidConfig: it cannot run here; nothing has changed.
    """
    present = runtime.live
    assert present is not None, "a document is tried over one that runs"
    counting = Counting(
        counting_rule(present.config, revision), runtime.chance.bytes(EPOCH_BYTES).hex()
    )
    tried = DocumentCounts()
    own = Runtime(runtime.service, runtime.chance, runtime.observer, **runtime.shared)
    side = Side(tried, counting.tallies[SIDES.arm])
    live = await own.build(config, revision, *secrets, is_trial=True, side=side)
    now = runtime.live
    if now is None or now.revision != present.revision:
        own.retire()
        return
    own.install(live)
    split = TrialSplit(share, salt, now.router, live.router)
    counts = DocumentCounts()
    runtime.try_beside(
        Trial(own, revision, share, split, counts, tried, counting, judged)
    )


def counting_rule(config: Config, revision: int) -> CountingRule:
    """Give what is counted of both documents: as of an arm, by what the present one says."""
    rollout = config.rollout
    rules = (None if rollout is None else rollout.judge) or JudgeRules()
    return rule_by(rules, config, trial_window(revision), SIDES.names)


def trial_window(revision: int) -> str:
    """Name what is counted of a trial."""
    return f"trial {revision}"
