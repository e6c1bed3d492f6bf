"""Which step of a plan is done by what."""

from __future__ import annotations

from canary_trio.verify.steps.changes import do_flip, do_policy, do_rollback
from canary_trio.verify.steps.faults import (
    do_cold,
    do_crash,
    do_handover,
    do_hang,
    do_store,
    do_storm,
)
from canary_trio.verify.steps.rollouts import do_abort, do_rollout
from canary_trio.verify.steps.stage import Does

DOES: dict[str, Does] = {
    "flip": do_flip,
    "policy": do_policy,
    "rollout": do_rollout,
    "abort": do_abort,
    "handover": do_handover,
    "store": do_store,
    "hang": do_hang,
    "cold": do_cold,
    "crash": do_crash,
    "storm": do_storm,
    "rollback": do_rollback,
}
"""What each step of `plan.STEPS` does."""
