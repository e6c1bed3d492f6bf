"""What a fleet is told of a proxy's certificates."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path
from typing import Any, cast

import pytest

from canary_trio.admin.certificates import notices
from canary_trio.admin.proxy_view import ProxyView
from canary_trio.control.fleet.report import MOST_NOTICES
from http_trio import Tls
from http_trio.net.certificates.store import CertificateStore
from tests.http_trio.support.certificates import Authority


def in_days(count: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC) + dt.timedelta(days=count)


def view_of(store: CertificateStore | None) -> ProxyView:
    nothing = cast(Any, None)
    return ProxyView("web", "one", nothing, nothing, cast(Any, store))


@pytest.mark.parametrize(
    ("names", "more", "said"),
    [
        (["a.example"], {"not_after": 31}, None),
        (["127.0.0.1"], {"not_after": 31}, None),
        (["a.example"], {"not_after": 29}, "expires in 2"),
        (["a.example"], {"not_after": -3}, "expired 3.0 days ago"),
        (
            ["a.example"],
            {"not_before": 2, "not_after": 90},
            "is not valid for another 2.0 days",
        ),
        (["a@b.example"], {"not_after": 90}, "has no host"),
        (["a@b.example"], {"common_name": "b.example"}, "has no host"),
    ],
    ids=str,
)
def test_one_is_told_of_if_somebody_should_see_to_it(
    tmp_path: Path, names: list[str], more: dict[str, Any], said: str | None
) -> None:
    times = {name: in_days(more[name]) for name in more if name != "common_name"}
    pair = Authority(tmp_path).issue(*names, **{**more, **times})
    found = notices(view_of(CertificateStore(Tls(*pair))))

    if said is None:
        assert found == ()
        return
    (notice,) = found
    assert notice.file == str(pair[0])
    assert notice.said(time.time()).startswith(said)


def test_those_that_end_first_are_told_of_and_few(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    directory = tmp_path / "live"
    directory.mkdir()
    for number in range(MOST_NOTICES + 5):
        cert, key = authority.issue(
            *(f"{at}.{number}.example" for at in range(9)),
            stem=f"{number}",
            not_after=in_days(20 - number),
        )
        cert.rename(directory / f"{number}.crt")
        key.rename(directory / f"{number}.key")
    found = notices(view_of(CertificateStore(Tls(directory=directory))))

    numbers = [int(Path(notice.file).stem) for notice in found]
    assert numbers == [*range(MOST_NOTICES + 4, 4, -1)]
    assert all(len(notice.names) <= 5 for notice in found)


def test_without_tls_there_is_nothing_to_tell() -> None:
    assert notices(view_of(None)) == ()
