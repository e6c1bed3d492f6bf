"""Consul's own Python clients as judges, each through its own API.

They are synchronous, so the store is a process of its own. A client that is not
installed is skipped. py-consul and python-consul2 have one API, and one module name:
the second lives in a directory of its own, `other-clients/python-consul2` in the
virtual environment (`pip install --target`), and is imported from there, aside.
"""

from __future__ import annotations

import base64
import importlib
import queue
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.error import HTTPError

import pytest

# python-consul2 warns of Consul's versions whenever a client is made.
pytestmark = pytest.mark.filterwarnings("ignore:.*Consul:DeprecationWarning")

BIN = Path(sys.executable).parent
OTHER_CLIENTS = Path(sys.prefix) / "other-clients"
PATIENCE_S = 20.0
STILL_S = 0.1
"""A request that is not answered by then counts as one that waits."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Serve a store in a process of its own."""
    command = [str(BIN / "kv-trio"), "serve", "--bind", "127.0.0.1:0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        lines: queue.Queue[str] = queue.Queue()
        reader = threading.Thread(target=read_lines, args=(process, lines))
        reader.start()
        try:
            line = lines.get(timeout=PATIENCE_S)
            assert " listens on 127.0.0.1:" in line, line
            yield int(line.partition("127.0.0.1:")[2].partition(",")[0])
        finally:
            process.kill()
            reader.join()


def read_lines(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)


@pytest.fixture
def prefix() -> str:
    """Give a part of the store that is this test's own."""
    return f"{uuid.uuid4()}/"


def import_from(directory: Path, name: str) -> ModuleType:
    """Import a module that has the name of another one, and leave that in place."""

    def forget() -> dict[str, ModuleType]:
        found = [n for n in sys.modules if n.partition(".")[0] == name]
        return {n: sys.modules.pop(n) for n in found}

    others = forget()
    sys.path.insert(0, str(directory))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(directory))
        forget()
        sys.modules.update(others)


def is_waiting(response: Future[Any]) -> bool:
    return not wait([response], STILL_S).done


def value_of(entry: Any) -> bytes:
    value: bytes = entry["Value"]
    return value


# === py-consul and python-consul2 ===


def py_consul() -> Any:
    return pytest.importorskip("consul", reason="py-consul is not installed")


def python_consul2() -> Any:
    directory = OTHER_CLIENTS / "python-consul2"
    if not directory.is_dir():
        pytest.skip(f"python-consul2 is not in {directory}")
    return import_from(directory, "consul")


@pytest.fixture(params=[py_consul, python_consul2], ids=lambda find: find.__name__)
def module(request: pytest.FixtureRequest) -> Any:
    find: Callable[[], Any] = request.param
    return find()


@pytest.fixture
def consul(module: Any, port: int) -> Iterator[Any]:
    client = module.Consul("127.0.0.1", port)
    yield client
    client.http.session.close()


@pytest.fixture
def other(module: Any, port: int) -> Iterator[Any]:
    """Give a second client, for a second thread."""
    client = module.Consul("127.0.0.1", port)
    yield client
    client.http.session.close()


def test_a_client_of_the_same_name_is_imported_aside() -> None:
    older = python_consul2()

    assert "python-consul2" in older.__file__
    assert sys.modules.get("consul") is not older


def test_what_is_put_is_read_and_deleted(consul: Any, prefix: str) -> None:
    assert consul.kv.put(prefix + "k", "välue", flags=2**64 - 1)

    index, entry = consul.kv.get(prefix + "k")

    assert value_of(entry) == "välue".encode()
    assert entry["Flags"] == 2**64 - 1
    assert int(index) == entry["ModifyIndex"] == entry["CreateIndex"]
    assert consul.kv.delete(prefix + "k")
    assert consul.kv.get(prefix + "k")[1] is None


def test_bytes_and_no_bytes_are_kept(consul: Any, prefix: str) -> None:
    consul.kv.put(prefix + "all", bytes(range(256)))
    consul.kv.put(prefix + "none", b"")

    assert value_of(consul.kv.get(prefix + "all")[1]) == bytes(range(256))
    assert consul.kv.get(prefix + "none")[1]["Value"] is None


def test_what_is_under_a_prefix_is_listed_and_deleted(consul: Any, prefix: str) -> None:
    for name in ("b", "a/2", "a/1"):
        consul.kv.put(prefix + name, name)

    entries = consul.kv.get(prefix, recurse=True)[1]

    assert [value_of(entry) for entry in entries] == [b"a/1", b"a/2", b"b"]
    assert consul.kv.delete(prefix, recurse=True)
    assert consul.kv.get(prefix, recurse=True)[1] is None


def test_keys_are_listed_and_folded(consul: Any, prefix: str) -> None:
    for name in ("b", "a/2", "a/1"):
        consul.kv.put(prefix + name, name)

    keys = consul.kv.get(prefix, keys=True)[1]
    folded = consul.kv.get(prefix, keys=True, separator="/")[1]

    assert keys == [prefix + name for name in ("a/1", "a/2", "b")]
    assert folded == [prefix + name for name in ("a/", "b")]


def test_a_late_writer_is_refused(consul: Any, prefix: str) -> None:
    key = prefix + "k"
    assert consul.kv.put(key, "1", cas=0)
    first = consul.kv.get(key)[1]["ModifyIndex"]

    assert consul.kv.put(key, "late", cas=0) is False
    assert consul.kv.put(key, "2", cas=first) is True
    assert consul.kv.put(key, "late", cas=first) is False
    assert consul.kv.delete(key, cas=first) is False
    assert value_of(consul.kv.get(key)[1]) == b"2"


def test_a_blocking_read_ends_with_a_write(
    consul: Any, other: Any, prefix: str
) -> None:
    key = prefix + "k"
    consul.kv.put(key, "before")
    index, _ = consul.kv.get(key)

    with ThreadPoolExecutor(1) as threads:
        response = threads.submit(other.kv.get, key, index=index, wait="20s")
        assert is_waiting(response)
        consul.kv.put(key, "after")
        new_index, entry = response.result(PATIENCE_S)

    assert value_of(entry) == b"after"
    assert int(new_index) == entry["ModifyIndex"] > int(index)


def test_a_blocking_read_ends_when_an_absent_key_appears(
    consul: Any, other: Any, prefix: str
) -> None:
    index, entry = consul.kv.get(prefix + "k")
    assert entry is None

    with ThreadPoolExecutor(1) as threads:
        response = threads.submit(other.kv.get, prefix + "k", index=index, wait="20s")
        assert is_waiting(response)
        consul.kv.put(prefix + "k", "born")
        entry = response.result(PATIENCE_S)[1]

    assert value_of(entry) == b"born"


def test_a_blocking_read_of_a_prefix_ends_with_a_delete(
    consul: Any, other: Any, prefix: str
) -> None:
    consul.kv.put(prefix + "a", "1")
    consul.kv.put(prefix + "b", "2")
    index, _ = consul.kv.get(prefix, recurse=True)

    with ThreadPoolExecutor(1) as threads:
        response = threads.submit(
            other.kv.get, prefix, recurse=True, index=index, wait="20s"
        )
        assert is_waiting(response)
        consul.kv.delete(prefix + "b")
        entries = response.result(PATIENCE_S)[1]

    assert [value_of(entry) for entry in entries] == [b"1"]


def test_a_blocking_read_ends_with_its_time(consul: Any, prefix: str) -> None:
    consul.kv.put(prefix + "k", "v")
    index, entry = consul.kv.get(prefix + "k")

    assert consul.kv.get(prefix + "k", index=index, wait="50ms") == (index, entry)


def kv(verb: str, key: str, value: bytes = b"", **more: Any) -> dict[str, Any]:
    shown = {"Value": base64.b64encode(value).decode()} if value else {}
    return {"KV": {"Verb": verb, "Key": key, **shown, **more}}


def test_a_transaction_is_done_whole(consul: Any, prefix: str) -> None:
    key, gone = prefix + "k", prefix + "gone"
    consul.kv.put(gone, "x")

    done = consul.txn.put([kv("set", key, b"1"), kv("delete", gone), kv("get", key)])

    assert done["Errors"] is None
    assert [row["KV"]["Key"] for row in done["Results"]] == [key, key]
    assert base64.b64decode(done["Results"][1]["KV"]["Value"]) == b"1"
    assert value_of(consul.kv.get(key)[1]) == b"1"
    assert consul.kv.get(gone)[1] is None


def test_a_transaction_that_fails_changes_nothing(
    consul: Any, module: Any, prefix: str
) -> None:
    key = prefix + "k"

    with pytest.raises(module.ConsulException, match="index is stale"):
        consul.txn.put([kv("set", key, b"1"), kv("cas", key + "2", b"2", Index=5)])

    assert consul.kv.get(key)[1] is None


def test_a_session_lives_until_it_is_destroyed(consul: Any, module: Any) -> None:
    session = consul.session.create("me", ttl=600, lock_delay=0, behavior="delete")

    shown = consul.session.info(session)[1]
    renewed = consul.session.renew(session)

    assert (shown["ID"], shown["Name"], shown["TTL"]) == (session, "me", "600s")
    assert (shown["LockDelay"], shown["Behavior"]) == (0, "delete")
    assert renewed["ID"] == session
    assert session in {s["ID"] for s in consul.session.list()[1]}
    assert session in {s["ID"] for s in consul.session.node(shown["Node"])[1]}
    assert consul.session.destroy(session) is True
    assert consul.session.info(session)[1] is None
    with pytest.raises(module.NotFound):
        consul.session.renew(session)


def test_a_session_on_another_node_is_refused(consul: Any, module: Any) -> None:
    with pytest.raises(module.ConsulException, match="Missing node registration"):
        consul.session.create("me", node="another")


def test_a_lock_has_one_holder(consul: Any, prefix: str) -> None:
    key = prefix + "lock"
    mine, yours = (consul.session.create(lock_delay=0) for _ in range(2))

    assert consul.kv.put(key, "mine", acquire=mine) is True
    assert consul.kv.put(key, "yours", acquire=yours) is False
    held = consul.kv.get(key)[1]
    assert consul.kv.put(key, "free", release=yours) is False
    assert consul.kv.put(key, "free", release=mine) is True
    free = consul.kv.get(key)[1]
    assert consul.kv.put(key, "yours", acquire=yours) is True

    assert (held["Session"], held["LockIndex"], value_of(held)) == (mine, 1, b"mine")
    assert ("Session" in free, free["LockIndex"], value_of(free)) == (False, 1, b"free")
    assert consul.kv.get(key)[1]["LockIndex"] == 2


def test_the_end_of_its_holder_frees_a_lock(
    consul: Any, other: Any, prefix: str
) -> None:
    key = prefix + "lock"
    session = consul.session.create(lock_delay=0)
    consul.kv.put(key, "mine", acquire=session)
    index, _ = consul.kv.get(key)

    with ThreadPoolExecutor(1) as threads:
        response = threads.submit(other.kv.get, key, index=index, wait="20s")
        assert is_waiting(response)
        consul.session.destroy(session)
        entry = response.result(PATIENCE_S)[1]

    assert "Session" not in entry
    assert value_of(entry) == b"mine"


def test_a_lock_for_no_session_is_refused(
    consul: Any, module: Any, prefix: str
) -> None:
    with pytest.raises(module.ConsulException, match="invalid session"):
        consul.kv.put(prefix + "lock", "x", acquire=str(uuid.uuid4()))


def test_the_cluster_is_of_one(consul: Any, port: int) -> None:
    assert consul.status.leader() == f"127.0.0.1:{port}"
    assert consul.status.peers() == [f"127.0.0.1:{port}"]
    assert consul.agent.self()["Config"]["Datacenter"] == "dc1"
    assert len(consul.agent.members()) == 1


# === consul-kv ===


@pytest.fixture
def consul_kv(port: int) -> Any:
    found: Any = pytest.importorskip("consul_kv", reason="consul-kv is not installed")
    return found.Connection(f"http://127.0.0.1:{port}/v1/", timeout=PATIENCE_S)


def test_consul_kv_puts_reads_and_deletes(consul_kv: Any, prefix: str) -> None:
    consul_kv.put(prefix + "a", "1")
    consul_kv.put(prefix + "b", "2")

    listed = consul_kv.get(prefix.rstrip("/"), recurse=True)

    assert listed == {prefix + "a": "1", prefix + "b": "2"}
    assert consul_kv.get(prefix + "a") == {prefix + "a": "1"}
    consul_kv.delete(prefix + "a")
    with pytest.raises(HTTPError, match="404") as caught:
        consul_kv.get(prefix + "a")
    caught.value.close()


def test_consul_kv_puts_a_mapping_at_once(consul_kv: Any, prefix: str) -> None:
    mapping = {f"{prefix}{n}": str(n) for n in range(64)}

    consul_kv.put_mapping(mapping)

    assert consul_kv.get_mapping(prefix.rstrip("/")) == mapping
    with pytest.raises(HTTPError, match="409") as caught:
        consul_kv.put_mapping({prefix + "0": ""}, verb="check-not-exists")
    caught.value.close()
    assert consul_kv.get_mapping(prefix.rstrip("/")) == mapping
