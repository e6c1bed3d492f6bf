"""The picture of a measurement: it is XML, and nothing of it lies outside."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from canary_trio.bench.comparison import Measurement
from canary_trio.bench.picture import svg
from canary_trio.bench.tally import LoadResult, LoadTally
from tests.canary_trio.support.measured import URLS, comparison, result


def one_response(took_s: float) -> LoadResult:
    tally = LoadTally(0.0)
    tally.responded(0.0, took_s, 200, 1)
    return tally.result()


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(comparison(result(2000), result(2000, slower=30)), id="two"),
        pytest.param(comparison(result(2000, slower=0.001)), id="one, fast"),
        pytest.param(comparison(LoadResult(()), LoadResult(())), id="nothing"),
        pytest.param(comparison(one_response(0.1), one_response(60.0)), id="hardly"),
        pytest.param(comparison(one_response(1.0)), id="one second"),
        pytest.param(comparison(one_response(1e-9)), id="no time at all"),
    ],
)
def test_it_is_drawn_within_its_frame(found: Measurement) -> None:
    root = ET.fromstring(svg(found))

    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for node in root.iter():
        places = node.attrib
        for name in ("x", "x1", "x2", "cx"):
            assert 0 <= float(places.get(name, 0)) <= width, places
        for name in ("y", "y1", "y2", "cy"):
            assert 0 <= float(places.get(name, 0)) <= height, places
    texts = [node.text or "" for node in root.iter() if node.tag.endswith("text")]
    assert any(URLS[0] in text for text in texts)


def test_what_is_the_same_lies_on_the_line() -> None:
    same = result(2000)
    root = ET.fromstring(svg(comparison(same, same)))

    points = [node for node in root.iter() if node.attrib.get("r") == "5"]
    lines = [node for node in root.iter() if node.attrib.get("stroke-width") == "1.5"]
    assert len(points) == 3  # of the quantiles; there are no errors
    assert {point.attrib["cx"] for point in points} == {lines[0].attrib["x1"]}
