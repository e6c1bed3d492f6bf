"""The command `kv-trio token`: a token by what its owner is to do."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from kv_trio import Right, operator_rights, proxy_rights, role_name
from kv_trio.api.tokens import parse_tokens
from kv_trio.cli.directory_commands import token


@pytest.mark.parametrize(
    ("words", "name", "rights"),
    [
        (["--for-proxy", "web"], "proxy-web", proxy_rights("web")),
        (
            ["--for-proxy", "web", "--no-drive"],
            "proxy-web",
            proxy_rights("web", drives=False),
        ),
        (
            ["--for-proxy", "@edge", "--for-proxy", "web"],
            "proxy-gateway-edge",
            proxy_rights("@edge", ["web"]),
        ),
        (["--for-operator", "web"], "operator-web", operator_rights("web")),
        (["me", "--for-operator", "@edge"], "me", operator_rights("@edge")),
    ],
)
def test_a_token_for_a_role_has_its_rights_and_no_more(
    words: list[str], name: str, rights: tuple[Right, ...]
) -> None:
    ran = CliRunner().invoke(token, words)
    assert ran.exit_code == 0, ran.output
    (acl,) = parse_tokens(ran.stdout).by_hash.values()
    assert acl.name == name
    assert set(acl.read) == {r.key.encode() for r in rights if not r.writes}
    assert set(acl.write) == {r.key.encode() for r in rights if r.writes}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "a --for-proxy or a --for-operator"),
        (["--read", "a/"], "needs a NAME"),
        (["--for-proxy", "a b"], "no name of a service"),
        (["a", "--read", "a/", "--no-drive"], "--no-drive says something"),
    ],
)
def test_what_makes_no_token_is_wrong_usage(words: list[str], told: str) -> None:
    ran = CliRunner().invoke(token, words)
    assert ran.exit_code == 2
    assert told in ran.output


def test_the_names_of_roles_are_what_a_consul_takes() -> None:
    assert role_name("proxy", "@a.b") == "proxy-gateway-a-b"
