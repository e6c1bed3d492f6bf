"""No spelling of a path walks around a prefix: it is the same path, or it is refused."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.config.rules import PathPrefix, Rule
from canary_trio.errors import InvalidConfig
from canary_trio.routing.edge.route_index import RouteIndex
from canary_trio.routing.edge.table_codec import build_table
from canary_trio.routing.request.paths import is_ambiguous, plain_path, rest_of
from canary_trio.routing.request.request_view import RequestReader
from canary_trio.routing.rules.condition_checks import compile_condition
from canary_trio.routing.rules.rule_matcher import RuleMatcher
from tests.canary_trio.support.routes import request

ROUTES = [
    {"service": "public"},
    {"path_prefix": "/admin", "service": "admin"},
    {"path_prefix": "/open", "service": "open"},
    {"path_prefix": "/caf%C3%A9/x", "service": "cafe"},
]
TABLE = build_table({"routes": ROUTES})
INDEX = RouteIndex((route, str(route.service)) for route in TABLE.routes)


def service_of(target: str) -> str | None:
    entry = INDEX.find(request("a.org", target), "192.0.2.1")
    if entry is None:
        assert INDEX.is_refused(target.encode())
        return None
    assert not INDEX.is_refused(target.encode())
    return entry.leads_to


@pytest.mark.parametrize(
    ("target", "service"),
    [
        ("/admin", "admin"),
        ("/admin/", "admin"),
        ("/admin?x=/../..", "admin"),
        ("/%61dmin", "admin"),
        ("/%61%64%6D%69%6e/x", "admin"),
        ("//admin", "admin"),
        ("///admin//x", "admin"),
        ("/./admin", "admin"),
        ("/%2e/admin", "admin"),
        ("/%2Fadmin", "admin"),
        ("/admin%2fx", "admin"),
        ("/admin;x=1", "admin"),
        ("/;x/admin;y/z", "admin"),
        ("/\\admin", "admin"),
        ("/%5cadmin%5Cx", "admin"),
        ("/caf%c3%a9/x", "cafe"),
        ("/caf%C3%A9//%78/y", "cafe"),
        ("/administrator", "public"),
        ("/admin%20", "public"),
        ("/Admin", "public"),
        ("/x/admin", "public"),
        ("/%2561dmin", "public"),
        ("/a..b/...", "public"),
        ("/x?/../admin", "public"),
        ("/compare/v1...v2", "public"),
        ("/..", None),
        ("/open/../admin", None),
        ("/open/%2e%2e/admin", None),
        ("/open/.%2E/admin", None),
        ("/open%2f..%2fadmin", None),
        ("/open/..%2fadmin", None),
        ("/open/..;/admin", None),
        ("/open\\..\\admin", None),
        ("/open/%252e%252e/admin", None),
        ("/open/%25252e./admin", None),
        ("/open/..%20/admin", None),
        ("/admin%00", None),
        ("/admin%2500/x", None),
    ],
)
def test_which_route_a_spelling_takes(target: str, service: str | None) -> None:
    assert service_of(target) == service


LETTERS = st.sampled_from(["admin", "open", "x", "a.b", "...", "admin2"])


@st.composite
def spellings(draw: st.DrawFn) -> tuple[str, str]:
    """Give a path without dot segments, and another spelling of it."""
    steps = draw(st.lists(LETTERS, min_size=1, max_size=4))
    spelled = ""
    for step in steps:
        spelled += draw(st.sampled_from(["/", "//", "/./", "/%2e/", "/;a=b/", "\\"]))
        for letter in step:
            coded = draw(st.booleans()) and letter != "."
            spelled += f"%{ord(letter):02x}" if coded else letter
        spelled += draw(st.sampled_from(["", ";v=1"]))
    if spelled[0] == "\\":
        spelled = "/" + spelled[1:]
    return "/" + "/".join(steps), spelled


@given(spellings())
def test_every_spelling_takes_the_route_of_the_path(pair: tuple[str, str]) -> None:
    plain, spelled = pair
    assert plain_path(spelled.encode()) == plain.encode()
    assert service_of(spelled) == service_of(plain)


@given(spellings(), st.sampled_from(["/..", "/%2e.", "%2f..", "\\..", "/..;x", "%00"]))
def test_what_leads_up_is_refused_wherever_it_stands(
    pair: tuple[str, str], dots: str
) -> None:
    _, spelled = pair
    for target in (spelled + dots, spelled + dots + spelled):
        assert is_ambiguous(target.encode())
        assert service_of(target) is None


@given(spellings(), st.sampled_from(["/admin", "/open"]))
def test_a_rule_holds_for_every_spelling(pair: tuple[str, str], prefix: str) -> None:
    plain, spelled = pair
    condition = PathPrefix(prefix)
    check = compile_condition(condition, b"")
    matcher = RuleMatcher([Rule("rule 1", "canary", (condition,))], b"")
    views = [RequestReader([]).read(request("a.org", t), "192.0.2.1") for t in pair]
    expected = plain == prefix or plain.startswith(prefix + "/")
    assert [bool(check(view)) for view in views] == [expected] * 2
    assert [matcher.first(view) == 0 for view in views] == [expected] * 2
    assert spelled


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/x/../admin", True),
        ("/admin/../x", False),
        ("/../admin/y", True),
        ("*", False),
    ],
)
def test_a_rule_sees_dot_segments_resolved(target: str, *, expected: bool) -> None:
    view = RequestReader([]).read(request("a.org", target, "OPTIONS"), "192.0.2.1")
    assert bool(compile_condition(PathPrefix("/admin"), b"")(view)) is expected


@given(spellings())
def test_what_follows_a_prefix_is_the_same_path(pair: tuple[str, str]) -> None:
    plain, spelled = pair
    first = plain.split("/")[1]
    rest = rest_of(spelled.encode() + b"?q", f"/{first}".encode())
    path, _, query = rest.partition(b"?")
    assert query == b"q"
    assert plain_path(b"/x" + path).removeprefix(b"/x") == plain.encode().removeprefix(
        b"/" + first.encode()
    )


@given(st.binary(max_size=40).map(lambda data: b"/" + data))
def test_a_plain_path_is_plain_once_and_for_all(path: bytes) -> None:
    plain = plain_path(path)
    assert plain_path(quote(plain, safe="/").encode()) in (
        plain,
        plain.rstrip(b"/") or b"/",
    )


def test_a_table_cannot_have_one_path_in_two_spellings() -> None:
    for prefix in ("/%61dmin", "/admin/.", "//admin", "/admin;x"):
        with pytest.raises(InvalidConfig, match="the same host, path"):
            build_table({"routes": [*ROUTES, {"path_prefix": prefix, "service": "x"}]})
    with pytest.raises(
        InvalidConfig, match=r"path_prefix: found .*, expected a path without"
    ):
        build_table({"routes": [{"path_prefix": "/a/%2e./b", "service": "x"}]})
