"""What the judge says, in values and in words. Pure."""

from __future__ import annotations

import enum

import attrs


class Finding(enum.Enum):
    """What the judge says."""

    REGRESSION = "regression"
    """The canary is worse: the e-value has reached 1/alpha."""

    SUSPICIOUS = "suspicious"
    """It may be: the e-value has reached the root of that. No step begins."""

    NO_DIFFERENCE = "no difference yet"
    NOT_WORSE = "not worse"
    """Its rate of errors lies below a stated multiple of the baseline's, or a ceiling."""

    NOT_ENOUGH_DATA = "not enough data"
    UNSOUND = "unsound"
    """What is assumed does not hold, so that the arms differ means nothing."""


@attrs.frozen
class MetricVerdict:
    """What is known of one metric.

    Attributes:
        name: `errors`, or `p99` and the like for "slower than the baseline's 0.99 quantile".
        e_value: evidence for a regression; 1 is none, 1/alpha is enough.
        ratio: bounds of the canary's rate, times the baseline's, in this step.
        bound_s: what slower means, in seconds; None for errors, and in the warm-up.
    """

    name: str
    e_value: float
    ratio: tuple[float, float]
    bound_s: float | None = None


ARMS_DIFFER = "two arms of the same version differ"
HANGS_TOGETHER = 'failures hang together by user; "unit": "users" in judge.errors counts each user once'
"""Why it is unsound, and what to do."""


@attrs.frozen
class Verdict:
    """What the judge says now.

    Attributes:
        finding: in one word.
        e_value: of all metrics together.
        requests: of the canary and of the baseline, in this step.
        metrics: each for itself.
        not_worse_than: the least multiple that the canary's errors are shown to lie below.
        below_ceiling: whether they are shown to lie below the ceiling.
        by_user: whether it is unsound since failures hang together by user.
    """

    finding: Finding
    e_value: float
    requests: tuple[int, int]
    metrics: tuple[MetricVerdict, ...]
    not_worse_than: float | None = None
    below_ceiling: bool = False
    by_user: bool = False

    def __str__(self) -> str:
        if self.finding is Finding.NOT_WORSE:
            if self.not_worse_than is not None:
                return f"not worse than x{self.not_worse_than:g}"
            return "errors below the ceiling"
        if self.finding in (Finding.REGRESSION, Finding.SUSPICIOUS):
            worst = max(self.metrics, key=lambda metric: metric.e_value)
            return f"{self.finding.value}: {worst.name}"
        if self.finding is Finding.UNSOUND:
            why = HANGS_TOGETHER if self.by_user else ARMS_DIFFER
            return f"{self.finding.value}: {why}"
        return str(self.finding.value)
