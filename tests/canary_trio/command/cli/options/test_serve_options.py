"""Options that stand without the one that they need are refused, before anything starts."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from canary_trio.command.cli.main import main
from canary_trio.command.cli.options import serve_options
from canary_trio.command.cli.options.serve_options import take_inherited
from http_trio import adopt_listener, bind_of, open_listeners


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Give back the signals that the command takes."""
    taken = (signal.SIGHUP, signal.SIGUSR1)
    before = [signal.getsignal(one) for one in taken]
    yield
    for one, handler in zip(taken, before, strict=True):
        signal.signal(one, handler)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--proxy-protocol"], "--proxy-protocol needs a --trust NETWORK"),
        (["--bind", "127.0.0.1:0,proxy"], "127.0.0.1:0,proxy needs a --trust NETWORK"),
        (["--h2c-bind", "[::1]:0,proxy"], "[::1]:0,proxy needs a --trust NETWORK"),
        (["--bind", "unix:/a,proxy"], "unix:/a,proxy needs a --trust NETWORK"),
        (["--admin", "127.0.0.1:0,proxy"], "the PROXY protocol is for clients only"),
        (["--trust", "10.0.0.1/8"], "10.0.0.0/8"),
        (["--trust", "balancers"], "expected a network such as 10.0.0.0/8, or unix"),
        (["--forwarded", "none"], "append"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], says: str) -> None:
    found = CliRunner().invoke(main, ["serve", "web", *words])
    assert found.exit_code == 2
    assert says in " ".join(found.output.split())


@pytest.mark.parametrize(
    ("name", "kind", "introduced"),
    [
        ("https", "tls_binds", False),
        ("https,proxy", "tls_binds", True),
        ("plain,proxy", "binds", True),
        ("h2c,proxy", "h2c_binds", True),
    ],
)
def test_a_socket_that_is_handed_down_may_begin_with_the_header(
    name: str, kind: str, introduced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_listeners(["127.0.0.1:0"])[0] as opened:
        given = [(name, adopt_listener(os.dup(opened.fileno())))]
        monkeypatch.setattr(serve_options, "inherited_listeners", lambda: given)
        (sock,) = take_inherited(with_tls=True)[kind]
        with sock:
            assert bind_of(sock).endswith(",proxy") == introduced


def test_what_a_socket_is_for_must_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_listeners(["127.0.0.1:0"])[0] as opened:
        with adopt_listener(os.dup(opened.fileno())) as sock:
            given = [("web", sock), ("a", sock), ("b", sock)]
            monkeypatch.setattr(serve_options, "inherited_listeners", lambda: given)
            with pytest.raises(click.UsageError, match=r"of the name 'b', .*,proxy"):
                take_inherited(with_tls=False)
