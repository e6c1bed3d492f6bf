"""What can be chosen of a proxy: one value, checked where it is made."""

from __future__ import annotations

import attrs
import pytest

from canary_trio import ProxyOptions


def test_addresses_are_several_in_any_sequence() -> None:
    assert ProxyOptions(binds=["a:1", "b:2"]).binds == ("a:1", "b:2")
    assert ProxyOptions(binds=(one for one in ("a:1",))).binds == ("a:1",)
    with pytest.raises(TypeError, match="got one address"):
        ProxyOptions(binds="127.0.0.1:80")
    with pytest.raises(TypeError, match="one address"):
        ProxyOptions(tls_binds="127.0.0.1:443")


def test_what_is_chosen_does_not_change() -> None:
    options = ProxyOptions()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        options.admin = "a:1"  # type: ignore[misc]
    assert attrs.evolve(options, admin="a:1").admin == "a:1"


def test_secrets_are_not_shown() -> None:
    assert "xyzzy" not in repr(ProxyOptions(token="xyzzy", bootstrap=b"xyzzy"))
