"""What pages show is what there is: commands that parse, documents that load, public names.

Pages that are followed from the top are run, see `test_pages`; here is what holds for every
block of every page, and costs no process.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import click
import pytest
import yaml

from canary_trio.command.cli.main import main as canary
from canary_trio.config.document import DOCUMENT, load
from canary_trio.config.rollout import Rollout
from kv_trio.cli.main import main as kv_trio
from tests.docs.pages import ALL_PAGES, Block, blocks, commands_in

LANGUAGES = {
    "": "commands, or what is shown",
    "sh": "commands",
    "console": "commands, and what they print",
    "text": "what is shown, or a picture in letters",
    "json": "a document, or a part of one",
    "toml": "",
    "yaml": "",
    "python": "",
    "nginx": "",
    "haproxy": "",
    "caddyfile": "",
    "ini": "units",
    "hcl": "",
    "http": "requests and responses as they are sent",
    "mermaid": "a picture",
}
BLOCKS = [block for page in ALL_PAGES for block in blocks(page)]
SHELLS = [block for block in BLOCKS if block.language in ("", "sh", "console")]
COMMANDS: Mapping[str, click.Group] = {"canary": canary, "kv-trio": kv_trio}
FIELDS = frozenset(DOCUMENT.schema["properties"])
ROLLOUT = frozenset(attrs.fields_dict(Rollout))
ARMS = {"stable": {"servers": ["http://127.0.0.1:9001"]}, "canary": {"servers": ["http://127.0.0.1:9002"]}, "baseline": {"servers": ["http://127.0.0.1:9003"]}}  # fmt: skip
PACKAGES = ("http_trio", "kv_trio", "canary_trio")


def _of(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def _name(block: Block) -> str:
    return block.name


@pytest.mark.parametrize("block", BLOCKS, ids=_name)
def test_a_block_says_what_it_is(block: Block) -> None:
    assert block.language in LANGUAGES
    if "not run" in block.said:
        assert len(block.said["not run"]) > 10, "say why"


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.name)
def test_what_is_shown_stands_between_fences(page: Path) -> None:
    """What is only indented is seen by no test, and has no language."""
    text = re.sub(
        r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL
    )

    assert (
        re.findall(r"^    (?:\$ )?(?:canary|kv-trio|curl) .*", text, re.MULTILINE) == []
    )


# === commands ===


@attrs.frozen
class CommandLine:
    """One of ours, as a page has it."""

    where: str
    words: tuple[str, ...]
    is_run: bool = True


def _ours(block: Block) -> Iterator[CommandLine]:
    for line in commands_in(block):
        for part in re.split(r"&&|\|\||;|\s\|\s|\$\(|^\.venv/bin/|=\"\$\(", line):
            plain = re.sub(r"#\s.*|\)+\"?$", "", part).strip().removesuffix(" &")
            plain = re.sub(r"^(\w+=\S+ |sudo |exec |timeout \d+ )+", "", plain)
            plain = re.sub(r"\s\d?>>?&?\s*\S+|\s<\s*\S+|<<'?EOF'?", "", plain)
            if re.match(r"(\S*/)?(canary|kv-trio) ", plain):
                words = shlex.split(plain)
                ours = (Path(words[0]).name, *words[1:])
                yield CommandLine(block.name, ours, "not run" not in block.said)


LINES = [line for block in SHELLS for line in _ours(block)]


@pytest.mark.parametrize("line", LINES, ids=lambda one: f"{one.where} {one.words[1]}")
def test_a_command_is_understood(line: CommandLine, tmp_path: Path) -> None:
    name, *words = line.words
    group: click.Command = COMMANDS[name]
    if words in (["--version"], ["--help"]) or "|" in words:
        return
    while isinstance(group, click.Group):
        command = group.get_command(click.Context(group), words[0])
        assert command is not None, f"{name} has no command {words[0]}"
        group, words = command, words[1:]
    try:
        group.make_context(name, words, resilient_parsing=False)
    except (click.NoSuchOption, click.UsageError) as exc:
        if not isinstance(exc, click.BadParameter) or "does not exist" not in str(exc):
            raise AssertionError(f"{exc.format_message()}: {line.words}") from exc
    except click.exceptions.Exit:
        pass  # --help


# === files ===


def _values(text: str) -> list[object]:
    """Give the JSON values that stand behind each other."""
    decoder, rest, found = json.JSONDecoder(), text.strip(), []
    if rest.startswith('"'):  # members of a table that stands around them
        rest = f"{{{rest}}}"
    while rest:
        value, end = decoder.raw_decode(rest)
        found.append(value)
        rest = rest[end:].strip()
    return found


@pytest.mark.parametrize("block", _of("json"), ids=_name)
def test_json_is_a_document_where_it_looks_like_one(block: Block) -> None:
    for value in _values(block.text):
        if "part" in block.said or not isinstance(value, dict):
            continue
        if value.keys() <= ROLLOUT:
            value = {"rollout": {"id": "v2", "steps": [1], **value}}  # noqa: PLW2901
        if value.keys() <= FIELDS:
            whole = {**value, "arms": {**ARMS, **value.get("arms", {})}}
            if not value.get("config_server"):
                load(json.dumps(whole).encode())


@pytest.mark.parametrize("block", _of("toml"), ids=_name)
def test_toml_is_toml(block: Block) -> None:
    tomllib.loads(block.text)


@pytest.mark.parametrize("block", _of("yaml"), ids=_name)
def test_yaml_is_yaml(block: Block) -> None:
    assert list(yaml.safe_load_all(block.text))


@pytest.mark.parametrize("block", _of("python"), ids=_name)
def test_python_is_python_and_names_what_is_public(block: Block) -> None:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST
    tree: ast.Module = compile(block.text, block.name, "exec", flags)
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                if module.split(".")[0] in PACKAGES:
                    there = importlib.import_module(module)
                    assert [
                        one.name for one in names if not hasattr(there, one.name)
                    ] == []
            case ast.Attribute(value=ast.Name(id=package), attr=name):
                if package in PACKAGES:
                    assert hasattr(importlib.import_module(package), name), (
                        f"{package}.{name}"
                    )
            case _:
                pass


# === text ===


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.name)
def test_names_of_packages_in_the_text_are_public(page: Path) -> None:
    named = re.findall(r"`(http_trio|kv_trio|canary_trio)\.(\w+)[`(]", page.read_text())
    missing = []
    for package, name in named:
        there = importlib.import_module(package)
        if not hasattr(there, name):
            try:
                importlib.import_module(f"{package}.{name}")
            except ImportError:
                missing.append(f"{package}.{name}")

    assert missing == []
