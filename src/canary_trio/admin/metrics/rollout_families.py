"""The metrics of rollouts: how they stand, what moved them, and what the judge says.

Each proxy tells of the documents that it sees, and so does each worker; what the judge says,
who drives tells alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from canary_trio.admin.merge_rules import MergeRule
from canary_trio.admin.metrics.family import counter, gauge
from canary_trio.admin.metrics.readers import Row
from canary_trio.admin.proxy_view import ProxyView
from canary_trio.config.rollout import Phase
from canary_trio.control.driving.rollout_duty import RolloutDuty


def duty_of(view: ProxyView) -> RolloutDuty | None:
    """Give what drives a view's rollout; None for a gateway's table."""
    duties = view.control.driver.duties
    return next((one for one in duties if isinstance(one, RolloutDuty)), None)


def _phases(view: ProxyView, _: float) -> Iterator[Row]:
    duty = duty_of(view)
    rollout = None if duty is None else duty.news.rollout
    if rollout is None or rollout.state is None:
        return
    for phase in Phase:
        yield (phase.value,), int(phase is rollout.state.phase)


def _steps(view: ProxyView, _: float) -> Iterator[Row]:
    duty = duty_of(view)
    rollout = None if duty is None else duty.news.rollout
    if rollout is not None and rollout.state is not None:
        yield (), rollout.state.step


def _transitions(view: ProxyView, _: float) -> Iterator[Row]:
    duty = duty_of(view)
    if duty is not None:
        yield from duty.news.transitions.items()


def _driving(view: ProxyView, _: float) -> Iterator[Row]:
    yield (), int(view.control.driver.shown.here)


def _e_values(view: ProxyView, _: float) -> Iterator[Row]:
    duty = duty_of(view)
    verdict = None if duty is None else duty.judge.verdict
    if verdict is not None:
        yield ("all",), verdict.e_value
        for metric in verdict.metrics:
            yield (metric.name,), metric.e_value


def _judge_age(view: ProxyView, now: float) -> Iterator[Row]:
    duty = duty_of(view)
    if duty is not None and duty.judged_at is not None:
        yield (), now - duty.judged_at


def _comparisons(view: ProxyView, _: float) -> Iterator[Row]:
    counts = view.runtime.observer.mirror_counters.comparisons
    for outcome, count in counts.outcomes.items():
        yield (outcome,), count


def _not_compared(view: ProxyView, _: float) -> Iterator[Row]:
    counts = view.runtime.observer.mirror_counters.comparisons
    for cause, count in counts.dropped.items():
        yield (cause,), count


def _comparing(view: ProxyView, _: float) -> Iterator[Row]:
    yield (), view.runtime.observer.mirror_counters.comparisons.in_progress


ROLLOUT = (
    gauge(
        MergeRule.HIGHEST,
        "canary_rollout_phase",
        "1 for the phase in which the document's rollout is, 0 for the others.",
        ("phase",),
        _phases,
    ),
    gauge(
        MergeRule.HIGHEST,
        "canary_rollout_step",
        "The step of the document's rollout, from 0.",
        (),
        _steps,
    ),
    counter(
        "canary_rollout_transitions_total",
        "Changes of phase or step that this proxy saw in documents, each worker for itself, by what moved them:"
        " operator, steps, regression, suspicious, unsound, deadline, gate, frozen, requests"
        " or no_data.",
        ("from", "to", "reason"),
        _transitions,
    ),
    gauge(
        MergeRule.HIGHEST,
        "canary_rollout_driving",
        "1 where this proxy drives the service.",
        (),
        _driving,
    ),
    gauge(
        MergeRule.HIGHEST,
        "canary_rollout_e_value",
        "The judge's evidence for a regression, 1 for none, of the proxy that drives; of"
        " all metrics together, of errors, of slower responses by quantile, and of answers"
        " to copies.",
        ("metric",),
        _e_values,
    ),
    gauge(
        MergeRule.HIGHEST,
        "canary_rollout_judge_age_seconds",
        "Time since the judge looked last, of the proxy that drives, or drove last.",
        (),
        _judge_age,
    ),
    counter(
        "canary_rollout_comparisons_total",
        "Comparisons of answers to copies, of stable, of stable again and of the judged arm:"
        " same; worse, where the arm differs in more than stable does from itself; better,"
        " where stable does; restless, where both differ in as much.",
        ("outcome",),
        _comparisons,
    ),
    counter(
        "canary_rollout_comparisons_dropped_total",
        "Requests whose turn it was and that were not compared, by cause.",
        ("cause",),
        _not_compared,
    ),
    gauge(
        MergeRule.ADDED,
        "canary_rollout_comparisons_in_progress",
        "Comparisons in progress, of three requests each.",
        (),
        _comparing,
    ),
)
"""How rollouts stand."""
