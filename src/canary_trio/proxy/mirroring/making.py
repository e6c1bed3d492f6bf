"""Which copies a configuration asks for: its mirror's, and its rollout's judge's."""

from __future__ import annotations

from collections.abc import Mapping

from canary_trio.config.model import Config
from canary_trio.proxy.mirroring.judged_mirror import JudgeMirror
from canary_trio.proxy.mirroring.mirror import Mirror
from canary_trio.rollout.fleet.arm_tally import Counting
from canary_trio.telemetry.decision_labels import MirrorLabels
from canary_trio.telemetry.observer import Observer
from canary_trio.upstream.arm import LiveArm


def mirrors_of(
    config: Config,
    arms: Mapping[str, LiveArm],
    counting: Counting | None,
    observer: Observer,
    service: str,
) -> tuple[MirrorLabels, ...]:
    """Make ready what copies requests; nothing where nobody asks for it.

    Args:
        config: that asks.
        arms: as its revision has them.
        counting: what is counted for a judge, and whether copies are.
        observer: where it is counted for who looks on.
        service: whose requests they are.
    """
    found: list[MirrorLabels] = []
    rule, rollout = config.mirror, config.rollout
    if rule is not None:
        copies, tasks = observer.mirror_counters, observer.tasks
        found.append(Mirror(rule, arms[rule.arm], copies, tasks))
    tally = None if counting is None else counting.compared
    if tally is None or rollout is None or rollout.judge is None:
        return tuple(found)
    if (rules := rollout.judge.mirror) is not None:
        pair = arms[rollout.arm], arms[rollout.against]
        found.append(JudgeMirror(rules, *pair, tally, observer, service))
    return tuple(found)
