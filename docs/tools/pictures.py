"""Draws docs/pictures: what the explanations show, from the code where it is about numbers.

Whose buckets are whose is asked of the router's layout, and the judge's lines are the judge's own
verdicts on simulated requests, with the same seed each time. So a picture is stale, and a test
fails, when the code does something else.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping

from docs.tools.drawing import CANARY, LINE, QUIET, STABLE, THIRD, Sheet

from canary_trio.config.model import WHOLE
from canary_trio.rollout.evidence import ArmTick
from canary_trio.rollout.judge import Judge, JudgeSettings
from canary_trio.routing.buckets import BucketRanges


def change() -> Sheet:
    """Draw a change's way from the command to the whole fleet, and back."""
    sheet = Sheet(
        760, 250, "A change's way: written once, live on each proxy, acknowledged"
    )
    sheet.box(20, 90, 150, 60, LINE, words="canary set web|ratio=0.25 --wait 2")
    sheet.box(300, 70, 130, 100, STABLE, words="the store|one revision|on disk")
    for number, top in enumerate((20, 95, 170)):
        sheet.box(
            570, top, 150, 58, CANARY, words=f"proxy {number + 1}|swaps, in one step"
        )
        sheet.line([(430, 120), (568, top + 22)], arrow=True)
        sheet.line([(568, top + 44), (432, 140)], LINE, dashed=True, arrow=True)
    sheet.line([(170, 112), (298, 112)], arrow=True)
    sheet.line([(298, 136), (172, 136)], LINE, dashed=True, arrow=True)
    sheet.text(234, 104, "1  compare-and-set", anchor="middle", colour=QUIET, size=12)
    sheet.text(466, 36, "2  the parked", anchor="middle", colour=QUIET, size=12)
    sheet.text(466, 51, "poll is answered", anchor="middle", colour=QUIET, size=12)
    sheet.text(474, 222, "3  what it runs", anchor="middle", colour=QUIET, size=12)
    sheet.text(234, 156, "4  live on 3/3", anchor="middle", colour=QUIET, size=12)
    return sheet


def lanes() -> Sheet:
    """Draw the two lanes of the engine."""
    sheet = Sheet(
        760, 330, "Two lanes: the event loop, and tasks for what does not fit"
    )
    sheet.box(20, 30, 720, 130, STABLE)
    sheet.text(
        34, 52, "the fast path: one trio task, one selector, plain functions", bold=True
    )
    steps = (
        "read",
        "parse|llhttp's verdict",
        "decide|the handler",
        "forward|a kept connection",
        "respond",
    )
    for number, words in enumerate(steps):
        left = 40 + 140 * number
        sheet.box(left, 72, 120, 62, "#ffffff", words=words)
        if number:
            sheet.line([(left - 20, 103), (left - 2, 103)], arrow=True)
    sheet.text(
        34,
        152,
        "small requests and responses, long polls that are parked: no task switch",
        colour=QUIET,
        size=12,
    )
    sheet.box(20, 220, 720, 92, CANARY)
    sheet.text(34, 243, "the slow path: an ordinary trio task for each", bold=True)
    others = (
        "a body that streams",
        "a WebSocket",
        "a retry after a pause",
        "a slow client",
        "a handler that awaits",
    )
    for number, words in enumerate(others):
        sheet.box(34 + 140 * number, 256, 132, 40, "#ffffff")
        sheet.text(100 + 140 * number, 281, words, anchor="middle", size=11)
    sheet.line([(300, 160), (300, 218)], arrow=True)
    sheet.text(310, 195, "what does not fit, and what was read", colour=QUIET, size=12)
    sheet.line([(690, 220), (690, 162)], LINE, dashed=True, arrow=True)
    sheet.text(680, 195, "back when it is over", anchor="end", colour=QUIET, size=12)
    return sheet


COLOURS = {"stable": STABLE, "canary": CANARY, "baseline": THIRD}


def cohorts() -> Sheet:
    """Draw whose buckets are whose, at rising ratios."""
    rows: list[tuple[str, dict[str, int]]] = [
        ("canary 5 %", {"canary": 500}),
        ("canary 25 %", {"canary": 2500}),
        ("canary 50 %", {"canary": 5000}),
        ("10 % and a baseline of 10 %", {"canary": 1000, "baseline": 1000}),
        ("30 % and a baseline of 30 %", {"canary": 3000, "baseline": 3000}),
    ]
    sheet = Sheet(
        760, 60 + 44 * len(rows) + 40, "Whose buckets are whose as the ratio rises"
    )
    left, width = 220, 510
    users = {"ann": 312, "ben": 1804, "cleo": 4433, "dan": 8125, "eva": 9640}
    for name, bucket in users.items():
        at = left + width * bucket / WHOLE
        sheet.text(at, 26, name, anchor="middle", size=12, bold=True)
        sheet.line([(at, 32), (at, 52 + 44 * len(rows))], QUIET, width=1, dashed=True)
    for number, (words, shares) in enumerate(rows):
        top = 44 + 44 * number
        ranges = BucketRanges.of(shares)
        sheet.text(left - 12, top + 21, words, anchor="end")
        for begin, end, arm in zip(
            ranges.starts, (*ranges.starts[1:], WHOLE), ranges.arms, strict=True
        ):
            sheet.box(
                left + width * begin / WHOLE,
                top,
                width * (end - begin) / WHOLE,
                30,
                COLOURS[arm],
                plain=True,
            )
        for bucket in users.values():
            at = left + width * bucket / WHOLE
            sheet.box(at - 4, top + 11, 8, 8, "#ffffff", plain=True)
    bottom = 44 + 44 * len(rows) + 28
    for number, (arm, colour) in enumerate(COLOURS.items()):
        sheet.box(left + 110 * number, bottom - 11, 14, 14, colour, plain=True)
        sheet.text(left + 20 + 110 * number, bottom, arm, size=12)
    return sheet


def polls() -> Sheet:
    """Draw when a change is seen, by asking again and by waiting."""
    sheet = Sheet(760, 260, "When a change is seen: by polling, and by a long poll")
    change_at = 240.0
    for row, (words, top) in enumerate(
        (("asked every 30 s", 70), ("a long poll", 170))
    ):
        sheet.text(20, top + 5, words, bold=True)
        sheet.line([(170, top), (730, top)], LINE)
        if row == 0:
            for at in range(180, 740, 180):
                sheet.line([(at, top - 14), (at, top + 14)], STABLE, width=2)
            sheet.box(change_at, top - 9, 360 - change_at, 18, CANARY)
            sheet.text(
                (change_at + 360) / 2 + 72,
                top + 34,
                "routed by the old one, 15 s on average",
                anchor="middle",
                colour=QUIET,
                size=12,
            )
        else:
            sheet.box(180, top - 8, change_at - 180, 16, STABLE)
            sheet.box(change_at + 6, top - 8, 724 - change_at, 16, STABLE)
            sheet.text(
                205,
                top + 34,
                "parked",
                anchor="middle",
                colour=QUIET,
                size=12,
            )
            sheet.text(
                530,
                top + 34,
                "the next one, from the index of the answer",
                anchor="middle",
                colour=QUIET,
                size=12,
            )
    sheet.line([(change_at, 34), (change_at, 220)], QUIET, dashed=True)
    sheet.text(change_at, 26, "the change", anchor="middle", bold=True)
    sheet.text(
        20,
        246,
        "A poll that nothing answers ends by itself (update_rate), and is asked anew: so a dead connection is noticed.",
        colour=QUIET,
        size=12,
    )
    return sheet


RATES = {"canary 1 %, as the baseline": 0.01, "canary 2 %": 0.02, "canary 10 %": 0.10}
TICK, TICKS = 50, 200


def judge() -> Sheet:
    """Draw the judge's evidence over requests, in three rollouts."""
    sheet = Sheet(760, 380, "The judge's evidence for a regression, as requests come")
    left, right, top, bottom = 70, 560, 30, 320
    highest = 4.0  # of the e-value, in powers of ten

    def at(requests: float, e_value: float) -> tuple[float, float]:
        power = max(-1.0, min(highest, math.log10(e_value)))
        part = (power + 1) / (highest + 1)
        return left + (right - left) * requests / (TICK * TICKS), bottom - (
            bottom - top
        ) * part

    for power in range(-1, int(highest) + 1):
        _, here = at(0, 10.0**power)
        sheet.line([(left, here), (right, here)], "#e4e7eb", width=1)
        sheet.text(
            left - 8, here + 4, f"{10.0**power:g}", anchor="end", colour=QUIET, size=12
        )
    for value, words in (
        (100.0, "regression: 1/alpha"),
        (10.0, "suspicious: its root"),
    ):
        _, here = at(0, value)
        sheet.line([(left, here), (right, here)], QUIET, dashed=True)
        sheet.text(right + 8, here + 4, words, size=12)
    for requests in range(0, TICK * TICKS + 1, 2500):
        place, _ = at(requests, 1)
        sheet.text(
            place, bottom + 20, f"{requests:,}", anchor="middle", colour=QUIET, size=12
        )
    sheet.text(
        (left + right) / 2,
        bottom + 42,
        "requests of each arm; the baseline fails 1 % of its own",
        anchor="middle",
        size=12,
    )
    for (words, rate), colour in zip(
        RATES.items(), (STABLE, CANARY, THIRD), strict=True
    ):
        points = [at(requests, value) for requests, value in _evidence(rate)]
        sheet.line(points, colour, width=2)
        sheet.text(
            right + 8,
            _apart(points[-1][1], words),
            words,
            colour=colour,
            size=12,
            bold=True,
        )
    return sheet


def _apart(height: float, words: str) -> float:
    return {"canary 10 %": 34.0, "canary 2 %": 56.0}.get(words, height + 4)


def _evidence(rate: float) -> list[tuple[int, float]]:
    draw = random.Random(7)
    one = Judge(JudgeSettings(latency_quantiles=()))
    found = [(0, 1.0)]
    for tick in range(1, TICKS + 1):
        canary, baseline = (
            ArmTick(TICK, sum(draw.random() < fails for _ in range(TICK)))
            for fails in (rate, 0.01)
        )
        one.observe(canary, baseline)
        found.append((TICK * tick, one.verdict().e_value))
        if found[-1][1] >= 1e4:
            break
    return found


PICTURES: Mapping[str, Callable[[], Sheet]] = {
    "change.svg": change,
    "lanes.svg": lanes,
    "cohorts.svg": cohorts,
    "polls.svg": polls,
    "evidence.svg": judge,
}
"""By file in docs/pictures, what draws it."""
