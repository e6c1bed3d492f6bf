"""`canary rollout simulate`, as it is typed."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from canary_trio.command.cli.main import main


def test_it_says_how_soon_a_regression_is_seen() -> None:
    ran = CliRunner().invoke(
        main,
        [
            "rollout",
            "simulate",
            "--baseline",
            "1%",
            "--canary",
            "0.1",
            "--rate",
            "100",
            "--runs",
            "20",
        ],
    )
    assert ran.exit_code == 0
    first, half, most = ran.output.splitlines()
    assert first.startswith("errors 0.01 and 0.1: an alarm in 20 of 20 runs")
    assert half == "  half of the runs: after 200 requests per arm, 2.0 s"
    assert most.startswith("  9 of 10 runs: after ")


def test_a_program_reads_it_too() -> None:
    ran = CliRunner().invoke(
        main, ["rollout", "simulate", "--runs", "3", "--limit", "1000", "--json"]
    )
    assert json.loads(ran.output) == {
        "runs": 3,
        "alarms": 0,
        "requests_median": None,
        "requests_p90": None,
    }


@pytest.mark.parametrize("rate", ["2", "-1%", "101%", "x", "nan", ""])
def test_what_is_no_share_is_refused(rate: str) -> None:
    ran = CliRunner().invoke(main, ["rollout", "simulate", "--canary", rate])
    assert ran.exit_code == 2
    assert "is no share: 0 to 1, or 0% to 100%" in ran.output
