"""Which certificate is served, and what becomes of it when its files change."""

from __future__ import annotations

import datetime as dt
import errno
import logging
import os
import shutil
import time
from pathlib import Path

import pytest

from http_trio import BadCertificate, Tls
from http_trio.net import tls_context
from http_trio.net.certificates.store import CertificateStore
from tests.http_trio.support.certificates import Authority

DAY_S = 86400.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "certs"
    made.mkdir()
    return made


def put(authority: Authority, directory: Path, stem: str, *names: str) -> None:
    cert, key = authority.issue(*names, stem=stem)
    cert.replace(directory / f"{stem}.crt")
    key.replace(directory / f"{stem}.key")


def put_live(authority: Authority, directory: Path, name: str) -> None:
    cert, key = authority.issue(name, stem=name)
    folder = directory / name
    folder.mkdir(exist_ok=True)
    cert.replace(folder / "fullchain.pem")
    key.replace(folder / "privkey.pem")


def look(store: CertificateStore) -> None:
    """Do what `watch` does, once."""
    store._take(store._found.read(store._tls))


def shown(store: CertificateStore, name: str) -> str:
    served = store.choose(name)
    return "" if served is None else served.names[0]


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]


def test_the_name_chooses(authority: Authority) -> None:
    store = CertificateStore(
        Tls(
            *authority.issue("first.example", stem="1"),
            others=[
                authority.issue("*.wild.example", stem="2"),
                authority.issue("a.wild.example", "192.0.2.1", stem="3"),
                authority.issue("first.example", "late.example", stem="4"),
            ],
        )
    )
    assert store.several
    for name, expected in [
        ("first.example", "first.example"),
        ("FIRST.example.", "first.example"),
        ("b.wild.example", "*.wild.example"),
        ("A.WILD.example", "a.wild.example"),
        ("192.0.2.1", "a.wild.example"),
        ("late.example", "first.example"),
        ("c.b.wild.example", "first.example"),
        ("unknown.example", "first.example"),
        ("", "first.example"),
        ("no name at all", "first.example"),
    ]:
        assert shown(store, name) == expected, name
    assert store.choose("late.example") is store.certificates[3]


def test_changed_files_are_taken_up(authority: Authority) -> None:
    store = CertificateStore(Tls(*authority.issue()))
    assert not store.several
    first = store.choose()
    assert store.choose() is first
    authority.issue()
    second = store.choose()
    assert second is not first
    assert store.choose() is second


def test_broken_files_are_logged_once_and_the_old_ones_stay(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = authority.issue()
    store = CertificateStore(Tls(cert, key))
    first = store.choose()
    whole = cert.read_bytes()
    cert.write_bytes(b"half of a cer")
    for _ in range(3):
        assert store.choose() is first
        look(store)
    cert.unlink()
    for _ in range(3):
        assert store.choose() is first
        look(store)
    broken, missing = errors(caplog)
    assert "the certificate in use stays" in broken
    assert "No such file" in missing
    cert.write_bytes(whole)
    assert store.choose() is not first


def test_changed_authorities_make_new_contexts(authority: Authority) -> None:
    """So no session that was agreed on under the old ones can be resumed."""
    ca = authority.ca_file
    store = CertificateStore(
        Tls(*authority.issue(), others=[authority.issue(stem="b")], client_ca=ca)
    )
    before = [served.context for served in store.certificates]
    ca.write_bytes(Authority(authority.directory).ca_file.read_bytes())
    look(store)
    after = [served.context for served in store.certificates]
    assert len(after) == 2
    assert not set(before) & set(after)


def test_a_directory_gains_changes_and_loses_pairs(
    authority: Authority, directory: Path
) -> None:
    store = CertificateStore(Tls(directory=directory))
    assert store.several
    assert store.choose("a.example") is None
    put(authority, directory, "a", "a.example")
    put_live(authority, directory, "b.example")
    look(store)
    assert shown(store, "b.example") == "b.example"
    assert shown(store, "x.example") == "a.example"
    first, kept = store.choose("a.example"), store.choose("b.example")
    put(authority, directory, "a", "a.example", "also.example")
    look(store)
    assert shown(store, "also.example") == "a.example"
    assert store.choose("a.example") is not first
    assert store.choose("b.example") is kept
    shutil.rmtree(directory / "b.example")
    look(store)
    assert len(store.certificates) == 1


def test_half_a_pair_goes_on_being_served(
    authority: Authority, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(authority, directory, "a", "a.example")
    store = CertificateStore(Tls(directory=directory))
    key = (directory / "a.key").read_bytes()
    for file in ("a.key", "a.crt"):
        (directory / file).unlink()
        for _ in range(2):
            look(store)
        assert shown(store, "") == ("a.example" if file == "a.key" else "")
    (told,) = errors(caplog)
    assert "a.key: No such file" in told
    put(authority, directory, "a", "a.example")
    (directory / "a.key").write_bytes(key)
    look(store)
    assert store.choose() is None
    assert "does not belong" in errors(caplog)[-1]


def test_a_directory_that_is_gone_leaves_all(
    authority: Authority, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(authority, directory, "a", "a.example")
    store = CertificateStore(Tls(directory=directory))
    aside = directory.rename(directory.with_name("aside"))
    for _ in range(3):
        look(store)
    assert shown(store, "") == "a.example"
    assert len(errors(caplog)) == 1
    aside.rename(directory)
    look(store)
    assert shown(store, "") == "a.example"


def test_what_is_no_pair_is_passed_over(authority: Authority, directory: Path) -> None:
    put(authority, directory, "b", "b.example")
    shutil.copy(directory / "b.crt", directory / "b.pem")
    (directory / "ca.pem").write_bytes(authority.ca_file.read_bytes())
    (directory / ".hidden.crt").write_text("")
    (directory / ".hidden.key").write_text("")
    (directory / "README").write_text("")
    (directory / "empty.example").mkdir()
    store = CertificateStore(Tls(directory=directory))
    assert [one.file for one in store.certificates] == [str(directory / "b.crt")]


def test_one_broken_pair_of_a_directory_stops_no_other(
    authority: Authority, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(authority, directory, "b", "b.example")
    (directory / "a.crt").write_text("nothing")
    (directory / "a.key").write_text("nothing")
    store = CertificateStore(Tls(directory=directory))
    assert shown(store, "a.example") == "b.example"
    assert len(errors(caplog)) == 1


def test_a_broken_pair_that_was_named_stops_all(authority: Authority) -> None:
    cert, key = authority.issue()
    key.write_text("nothing")
    with pytest.raises(BadCertificate, match="no key, as PEM"):
        CertificateStore(Tls(cert, key))


def test_what_expires_is_said_once_a_day(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(days=20)
    cert, key = authority.issue("a.example", not_after=soon)
    store = CertificateStore(Tls(cert, key))
    now = time.time()

    def said(day: float) -> list[str]:
        caplog.clear()
        store.warn(now + day * DAY_S)
        return [r.getMessage() for r in caplog.records]

    assert said(0) == said(5.9) == []
    (first,) = said(6.5)
    assert f"the certificate {cert} expires in 13.5 days" in first
    assert said(7) == said(7.4) == []
    assert "expires in 12." in said(7.6)[0]
    assert "expired 1 day ago" in said(21.5)[0]
    authority.issue("a.example")
    store.choose()
    assert said(22) == []


def test_what_is_not_valid_is_served_and_said(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    now = dt.datetime.now(dt.UTC)
    hour = dt.timedelta(hours=1)
    past = authority.issue("past.example", stem="past", not_after=now - 30 * hour)
    store = CertificateStore(Tls(*past))
    assert shown(store, "") == "past.example"
    assert "expired 1 day ago" in caplog.text


@pytest.mark.parametrize(
    "lack",
    [errno.EMFILE, errno.ENFILE, errno.EIO, errno.EACCES],
    ids=errno.errorcode.get,
)
@pytest.mark.parametrize("by_client", [False, True])
def test_what_could_not_be_read_for_now_is_read_again(
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    lack: int,
    by_client: bool,
) -> None:
    """Its files change no more, and so nothing else would tell."""
    store = CertificateStore(Tls(*authority.issue("old.example")))
    authority.issue("new.example")

    def refuse(file: Path, _: int) -> bytes:
        raise OSError(lack, os.strerror(lack), str(file))

    with monkeypatch.context() as lacking:
        lacking.setattr(tls_context, "read_file", refuse)
        for _ in range(3):
            if by_client:
                assert shown(store, "") == "old.example"
            look(store)
    assert shown(store, "") == "old.example"
    assert len(errors(caplog)) == 1
    look(store)
    assert shown(store, "") == "new.example"


def test_what_is_broken_is_not_read_again_until_it_changes(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CertificateStore(Tls(*authority.issue("old.example")))
    cert, _ = authority.issue("new.example")
    cert.write_text("nothing")
    look(store)
    monkeypatch.setattr(tls_context, "read_file", None)  # whose call would raise
    look(store)
    assert shown(store, "") == "old.example"
