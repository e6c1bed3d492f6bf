"""Who asks, in a document: what is read, written, and refused with its path."""

from __future__ import annotations

import json
from typing import Any

import pytest

from canary_trio.config.auth import (
    AuthCache,
    BasicAuth,
    ForwardAuth,
    OnFailure,
)
from canary_trio.config.document import dump, load
from tests.canary_trio.support.documents import ARMS, problems

FORWARD: dict[str, Any] = {"url": "http://auth:4181/verify"}
BASIC: dict[str, Any] = {"file": "staff"}


def test_what_is_read_is_written() -> None:
    access = {
        "basic_auth": {
            "file": "staff.users",
            "realm": "Back office",
            "user_header": "X-User",
            "keep_authorization": True,
        },
        "forward_auth": {
            "url": "h2c://auth:4181/verify",
            "path": "/x?app=a",
            "request_headers": ["X-Api-Key"],
            "copy_headers": ["Remote-User"],
            "set_cookies": True,
            "user_header": "Remote-User",
            "timeout": 0.5,
            "on_failure": "allow",
            "cache": {"time": 60, "by": ["X-Api-Key"], "refusals": 5, "entries": 10},
            "tls": {"verify": False},
        },
    }
    config = load(json.dumps({"arms": ARMS, "access": access}))

    assert load(dump(config)) == config
    assert config.access.basic_auth == BasicAuth(
        "staff.users", "Back office", "X-User", keep_authorization=True
    )
    found = config.access.forward_auth
    assert found is not None
    assert found.cache == AuthCache(60.0, ("X-Api-Key",), 5.0, 10)
    assert (found.on_failure, found.timeout) == (OnFailure.ALLOW, 0.5)


def test_the_door_is_closed_by_default_and_nothing_is_kept() -> None:
    text = json.dumps({"arms": ARMS, "access": {"forward_auth": FORWARD}})
    found = load(text).access.forward_auth

    assert found == ForwardAuth("http://auth:4181/verify")
    assert (found.on_failure, found.cache) == (OnFailure.DENY, None)
    assert found.request_headers == ("Authorization", "Cookie")
    assert found.copy_headers == ()


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"file": "/etc/passwd"}, ".file", "no slash"),
        ({"file": "../staff"}, ".file", "no slash"),
        ({"file": ".hidden"}, ".file", "no slash"),
        ({"file": ".."}, ".file", "no slash"),
        ({"file": ""}, ".file", "no slash"),
        ({"file": "a/b"}, ".file", "no slash"),
        ({"realm": 'a"b'}, ".realm", "without quotes"),
        ({"realm": "a\\b"}, ".realm", "without quotes"),
        ({"realm": ""}, ".realm", "without quotes"),
        ({"user_header": "Host"}, ".user_header", "another field"),
        ({"user_header": "x_forwarded_for"}, ".user_header", "another field"),
        ({"user_header": "a b"}, ".user_header", "the name of a header"),
        ({"keep_authorization": 1}, ".keep_authorization", "true or false"),
        ({"users": "a"}, ".users", "one of file"),
    ],
)
def test_a_bad_file_of_users_is_refused(
    change: dict[str, Any], path: str, words: str
) -> None:
    access = {"basic_auth": {**BASIC, **change}}
    found = problems({"arms": ARMS, "access": access})

    assert list(found) == [f"$.access.basic_auth{path}"]
    assert words in found[f"$.access.basic_auth{path}"][1]


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"url": "auth:4181"}, ".url", "http://HOST"),
        ({"url": "http://a:b@auth/"}, ".url", "http://HOST"),
        ({"path": "verify"}, ".path", "begins with /"),
        ({"path": "/a b"}, ".path", "begins with /"),
        ({"path": "/a#b"}, ".path", "begins with /"),
        ({"path": "/a?b#c"}, ".path", "begins with /"),
        ({"path": "/a\r\nX: y"}, ".path", "begins with /"),
        ({"request_headers": ["Host"]}, ".request_headers[0]", "another field"),
        ({"request_headers": ["Via"]}, ".request_headers[0]", "another field"),
        ({"request_headers": ["A", "a"]}, ".request_headers[1]", "each field once"),
        ({"copy_headers": ["Connection"]}, ".copy_headers[0]", "another field"),
        ({"copy_headers": ["X-Forwarded-Uri"]}, ".copy_headers[0]", "another field"),
        ({"copy_headers": "X-User"}, ".copy_headers", "a list of"),
        ({"timeout": 0}, ".timeout", "seconds from 0.01"),
        ({"on_failure": "open"}, ".on_failure", "one of deny, allow"),
        ({"cache": 60}, ".cache", "a table"),
        ({"cache": {}}, ".cache.time", "required"),
        ({"cache": {"time": -1}}, ".cache.time", "seconds from 0"),
        ({"cache": {"time": 1, "entries": 0}}, ".cache.entries", "a whole number"),
        ({"cache": {"time": 1, "by": ["a b"]}}, ".cache.by[0]", "the name of a header"),
        ({"tls": {"ca": 1}}, ".tls.ca", "the path of a file"),
        ({"fail": "deny"}, ".fail", "one of url"),
    ],
)
def test_a_bad_server_to_ask_is_refused(
    change: dict[str, Any], path: str, words: str
) -> None:
    access = {"forward_auth": {**FORWARD, **change}}
    found = problems({"arms": ARMS, "access": access})

    assert list(found) == [f"$.access.forward_auth{path}"]
    assert words in found[f"$.access.forward_auth{path}"][1]
