"""The judge of a rollout, in the document: JSON to values and back. Pure."""

from __future__ import annotations

from canary_trio.config.codec import (
    boolean,
    checked,
    enumeration,
    integer,
    list_of,
    number,
    optional,
    table,
    text,
    word_or,
)
from canary_trio.config.parts.times import seconds
from canary_trio.config.rollout import (
    ErrorUnit,
    JudgedErrors,
    JudgedLatency,
    JudgedMirror,
    JudgeRules,
    Then,
)
from canary_trio.config.scalars import HEADER_NAME, METHOD, SHARE, status_codes

MOST_QUANTILES = 5
"""Of latency: what a judge leaves to the next driver must fit into a value of the store."""

MOST_REQUESTS = 10**9
MOST_LOOKED_AT = 1024 * 1024
"""Bytes of a body that copies are compared by: it is parsed between two requests."""

_MIRROR_TABLE = table(
    JudgedMirror,
    methods=list_of(METHOD, least=1, most=20, of="methods"),
    share=SHARE,
    rate=number(0.01, 10_000),
    concurrency=integer(1, 100),
    timeout=seconds(0.01, 60),
    size=integer(0, MOST_LOOKED_AT),
    headers=list_of(HEADER_NAME, most=50, of="names of fields"),
    body=boolean(),
    ignore=list_of(
        text(
            r"[^\x00-\x1f\x7f.]{1,100}(?:\.[^\x00-\x1f\x7f.]{1,100}){0,19}",
            "names with dots between, * for any, such as items.*.id",
        ),
        most=100,
        of="paths",
    ),
    tolerance=number(1, 1000),
    requests=integer(0, MOST_REQUESTS),
)
_MIRROR = optional(
    word_or(
        {True: JudgedMirror(), False: None},
        _MIRROR_TABLE,
        'true, false, or a table such as {"ignore": ["time"]}',
    )
)

_QUANTILE = checked(
    lambda v: type(v) is float and 0 < v < 1,
    "a number between 0 and 1, such as 0.99",
    type="number",
    exclusiveMinimum=0,
    exclusiveMaximum=1,
)
_JUDGE_TABLE = table(
    JudgeRules,
    errors=table(
        JudgedErrors,
        status=status_codes(least=1),
        tolerance=number(1, 1000),
        ceiling=number(1e-6, 1),
        unit=enumeration(ErrorUnit),
    ),
    latency=optional(
        table(
            JudgedLatency,
            quantiles=list_of(_QUANTILE, least=1, most=MOST_QUANTILES, of="quantiles"),
            tolerance=number(1, 1000),
        )
    ),
    mirror=_MIRROR,
    alpha=number(1e-9, 0.5),
    requests=integer(0, MOST_REQUESTS),
    then=enumeration(Then),
)
JUDGE = optional(
    word_or(
        {True: JudgeRules(), False: None},
        _JUDGE_TABLE,
        'true, false, or a table such as {"then": "abort"}',
    )
)
"""Of a rollout."""
