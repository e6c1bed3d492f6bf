"""What each package offers is pinned: to add, rename or drop a name is a conscious edit.

A user may build on the names that are listed here, and on nothing else. Who changes
the list tells the user of it in CHANGELOG.md.
"""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import typing
from pathlib import Path

import attrs
import pytest

import canary_trio

SRC = Path(__file__).parents[2] / "src"

PUBLIC: dict[str, str] = {
    "http_trio": """
        Address Application AsgiApp BadBind BadCertificate BadRequest BadResponse BodyLimit Certificate Compression EventLoop Exchange
        Failure FailureReason FetchResult Field FollowedFile ForwardHooks ForwardedPolicy
        ForwardedRequest Handler HostedApp Http2Upstream HttpError HttpServer HttpsRedirect IntroducingUpstream KnownHosts Limits
        NoResponse Notice ProcessLife ProtocolError ProxyVersion Response Retry ServedCertificate ServiceManager Tell Timeouts Tls TrafficCounts Trouble Upstream UpstreamChannel UpstreamRequest
        address_of adopt_listener as_asgi begins_with_proxy bind_of by_logging client_context count_processors error_response fetch
        fetch_pooled file_stamp forward inherited_listeners introduce is_foreign_page may_pass open_listeners open_to_append opened_again others_on_port parse_address raise_file_limit read_file
        respond_all serve tune_gc
        upstream_request_of
    """,
    "kv_trio": """
        AuditLog Backoff BadAuditLog BadKey BadQuery BadTokens Bounds Client Compacted Contact Entry EtcdClient
        Invalid KeySetWatch KvError KvServer Listing Live LockLost PrefixWatch ResponseLimits Revision Right
        Session Snapshot StorageError StoreDamaged StoreLimits StoreLocked StoreRefused
        StoreUnreachable TransactionResult Transport TxnOperation TxnOperationFailed
        UnexpectedResponse Watch WriteResult live operator_rights proxy_rights role_name
        serve
    """,
    "canary_trio": """
        Access AccessLog Arm ArmTimeouts AtDeadline AuthCache BadAssignment BadLog BadName BadNote
        Balance BasicAuth CanaryError CertificateHeader CertificateNotice CertificatePart Change
        ChangeLog ClientIn Coding Compress Config Connections Ejection ErrorUnit ExpectedJson
        Fleet ForwardAuth Forwarded HeaderRules Health HostIs InvalidConfig JudgeRules
        JudgedErrors JudgedLatency JudgedMirror KeptHistory Key LineForm MethodIs MirrorRule
        NoDocument NoRevision Note OnChange OnFailure Operator PathPrefix Phase Problem Protocol
        Proxy ProxyOptions RateLimit Refusal Report Retries Rollout RolloutGate RolloutHook
        RolloutState RolloutStep Rule SameSite Server ServerLimits ServerMode Source Sticky
        StoredVerdict StrictTransport Style Then TimeWindow TooLargeTogether UpstreamTls ValueIs
        WrittenMeanwhile
        change dump load read_document read_fleet read_history read_revision revise serve
        wait_applied write_document
    """,
    "http_trio.testing.http2_peer": """
        Http2Peer PeerStream RECEIVE SEND_S ServeStream StreamLost http2_connection serve_http2
    """,
    "canary_trio.console": """
        app
    """,
    "http_trio.testing.peers": """
        FakeUpstream RawClient ReceivedRequest RecordingHooks Script connected
        fake_upstream proxying scripted serving
    """,
    "http_trio.testing.ports": """
        free_port
    """,
    "kv_trio.testing": """
        in_memory_store
    """,
    "canary_trio.testing": """
        PATIENCE_S Proxied arm closed_url hangs_up proxied says_canary
        says_stable url_of
    """,
}
"""By module, the names that a user may import from it."""

PACKAGES = ["http_trio", "kv_trio", "canary_trio"]

TYPE_ALIASES = {
    "Address",
    "Application",
    "Field",
    "Handler",
    "STOPPING",
    "Tell",
}  # what they are stands where they are used


@pytest.mark.parametrize("module", PUBLIC)
def test_a_module_offers_what_is_pinned(module: str) -> None:
    pinned = set(PUBLIC[module].split())
    offered = _offered(module)

    assert sorted(offered - pinned) == [], "new: pin it, and tell it in CHANGELOG.md"
    assert sorted(pinned - offered) == [], "gone: tell it in CHANGELOG.md"


@pytest.mark.parametrize("module", PUBLIC)
def test_what_is_offered_is_there(module: str) -> None:
    loaded = importlib.import_module(module)

    assert [name for name in PUBLIC[module].split() if not hasattr(loaded, name)] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_for_tests_is_pinned_too(package: str) -> None:
    testing = SRC / package / "testing"
    files = [testing.with_suffix(".py"), *testing.glob("*.py")]
    modules = {
        ".".join(file.relative_to(SRC).with_suffix("").parts)
        for file in files
        if file.exists() and _defined(file)
    }

    assert modules == {one for one in PUBLIC if one.startswith(f"{package}.testing")}


def test_the_types_of_a_document_are_public() -> None:
    """Whoever reads a document in a program can name what its fields hold."""
    found: set[type] = set()

    def collect(kind: object) -> None:
        if isinstance(kind, type) and kind.__module__.split(".")[0] in PACKAGES:
            if kind not in found and attrs.has(kind):
                found.add(kind)
                for hint in typing.get_type_hints(kind).values():
                    collect(hint)
            found.add(kind)
        for inner in typing.get_args(kind):
            collect(inner)

    collect(canary_trio.Config)

    faces = [importlib.import_module(package) for package in PACKAGES]
    public = {name for face in faces for name in face.__all__}
    assert len(found) > 40
    assert {kind.__name__ for kind in found} - public == set()


def _offered(module: str) -> set[str]:
    """Give what `__all__` says; without it, what the module itself defines."""
    loaded = importlib.import_module(module)
    assert loaded.__file__ is not None
    names: list[str] | None = getattr(loaded, "__all__", None)
    return _defined(Path(loaded.__file__)) if names is None else set(names)


def _defined(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                names.add(name)
            case ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]):
                names.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case _:
                pass
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_handed_out_is_sorted_and_says_what_it_is(package: str) -> None:
    loaded = importlib.import_module(package)

    assert sorted(loaded.__all__) == loaded.__all__
    offered = {name: getattr(loaded, name) for name in loaded.__all__}
    ours = {name: it for name, it in offered.items() if hasattr(it, "__module__")}
    silent = [name for name, it in ours.items() if not it.__doc__]
    assert [name for name in silent if name not in TYPE_ALIASES] == []


# === faces ===


@pytest.mark.parametrize("package", PACKAGES)
def test_a_face_says_to_type_checkers_what_it_does(package: str) -> None:
    tree = ast.parse((SRC / package / "__init__.py").read_text(encoding="utf-8"))
    (choice,) = (node for node in tree.body if isinstance(node, ast.If))
    (lazy,) = choice.orelse
    assert isinstance(lazy, ast.Assign)
    assert isinstance(lazy.value, ast.Call)
    homes: dict[str, str] = ast.literal_eval(lazy.value.args[1])

    imported: dict[str, set[str]] = {}
    for node in choice.body:
        assert isinstance(node, ast.ImportFrom), "nothing else stands there"
        home = (node.module or "").removeprefix(f"{package}.")
        imported.setdefault(home, set()).update(alias.name for alias in node.names)
    assert {home: set(names.split()) for home, names in homes.items()} == imported
    assert set().union(*imported.values()) == set(PUBLIC[package].split())


@pytest.mark.parametrize("package", PACKAGES)
def test_a_public_name_is_that_of_no_module(package: str) -> None:
    """Else importing the module would put it in the place of what is public."""
    modules = {one.stem for one in (SRC / package).iterdir()}

    assert modules & set(PUBLIC[package].split()) == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_face_lists_all_of_its_names(package: str) -> None:
    code = f"import {package}; print(*dir({package}))"
    run = [sys.executable, "-c", code]
    shown = subprocess.run(run, capture_output=True, text=True, check=True).stdout

    assert set(PUBLIC[package].split()) <= set(shown.split())


@pytest.mark.parametrize("package", PACKAGES)
def test_a_face_has_no_other_names(package: str) -> None:
    face = importlib.import_module(package)

    with pytest.raises(AttributeError, match=f"{package}.*no_such_name"):
        face.no_such_name  # noqa: B018


@pytest.mark.parametrize("package", PACKAGES)
def test_all_of_a_face_can_be_imported_at_once(package: str) -> None:
    found: dict[str, object] = {}
    exec(f"from {package} import *", found)

    assert found.keys() >= set(PUBLIC[package].split())
