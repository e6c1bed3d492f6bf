"""A run of some seconds: what is sound passes, and what is broken on purpose is found out."""

from __future__ import annotations

from pathlib import Path

from canary_trio.verify.checkers import Property
from canary_trio.verify.observation import ClientKind, DoneTo
from canary_trio.verify.report import ExitStatus, VerifyReport
from canary_trio.verify.run import VerifyPlan, verify_own

BROKEN = "tests.canary_trio.verify.broken_proxy"


async def judged(path: Path, seconds: float, *names: str, **more: str) -> VerifyReport:
    wanted = VerifyPlan(seconds=seconds, seed=3, names=names)
    return await verify_own(
        wanted,
        kind="kv",
        proxies=1,
        directory=path,
        progress=lambda _: None,
        **more,
    )


async def test_a_sound_proxy_bears_a_crash_of_its_servers(tmp_path: Path) -> None:
    report = await judged(tmp_path, 0.5, "crash")

    assert report.violations == []
    assert report.outcome is ExitStatus.PASSED
    assert {one.fault for one in report.record.incidents} == {DoneTo.SERVER_KILLED}
    assert {one.kind for one in report.record.observations} == set(ClientKind)
    assert (
        report.table()["write_to_live_ms"]["from_response"]["quantiles"]["count"] == 1
    )


async def test_a_proxy_that_is_broken_on_purpose_is_found_out(tmp_path: Path) -> None:
    report = await judged(tmp_path, 0.5, "flip", program=BROKEN)

    found = {one.of for one in report.violations}
    assert report.outcome is ExitStatus.FAILED
    assert found >= {Property.DROPS, Property.TORN, Property.STALE, Property.MOVED}
    assert not {Property.UNSAVED, Property.STUCK} & found
