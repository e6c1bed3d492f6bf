"""The commands, and the variables of the environment that they read, as click has them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from canary_health.commands import health_of
from canary_trio.command.cli.main import main as canary
from kv_trio.cli.main import main as kv_trio

GROUPS: dict[str, click.Group] = {"canary": canary, "kv-trio": kv_trio}


def commands_page() -> str:
    """Give the page of all commands with their options."""
    parts = [
        "# All commands and their options",
        "What a command takes. What is common to all, and exit statuses: [commands.md](../commands.md).",
    ]
    for name, group in GROUPS.items():
        parts.append(f"## {name}\n\n{_help(group)}")
        for path, command in _leaves(group, name):
            parts.append(_command(path, command))
    return "\n\n".join(parts)


def variables_page() -> str:
    """Give the page of the variables of the environment."""
    found: dict[str, dict[str, str]] = {}
    for group_name, group in GROUPS.items():
        for path, command in _leaves(group, group_name):
            for option in _options(command):
                for variable in _variables(option):
                    names = found.setdefault(variable, {})
                    names.setdefault(_names(option), path)
    rows = [
        f"| `{variable}` | {'; '.join(f'{names} of `{path}`' for names, path in found[variable].items())} |"
        for variable in sorted(found)
    ]
    return "\n".join(
        [
            "# Variables of the environment",
            "",
            "Each stands for an option, and an option that is given wins. The first command is named.",
            "",
            "| variable | stands for |",
            "|---|---|",
            *rows,
        ]
    )


def _leaves(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in sorted(group.list_commands(context)):
        below = (
            health_of(path)
            if name == "health" and path in GROUPS
            else group.get_command(context, name)
        )
        assert below is not None
        if isinstance(below, click.Group):
            yield from _leaves(below, f"{path} {name}")
        else:
            yield f"{path} {name}", below


def _command(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    parts = [f"### {path}", f"```text\n{usage}\n```", _help(command)]
    rows = [
        f"| {_names(option)} | {_value(option, context)} | {_words(option)} |"
        for option in _options(command)
        if option.name != "help" and not option.hidden
    ]
    if rows:
        parts.append("\n".join(["| option | default | |", "|---|---|---|", *rows]))
    return "\n\n".join(part for part in parts if part)


def _help(command: click.Command) -> str:
    """Give its text: paragraphs, and what is indented as a block."""
    text = inspect.cleandoc(command.help or "").replace("\b\n", "")
    parts = []
    for part in text.split("\n\n"):
        if part.startswith("    "):
            parts.append(f"```text\n{inspect.cleandoc(part)}\n```")
        else:
            parts.append(_plain(part))
    return "\n\n".join(parts)


def _options(command: click.Command) -> list[click.Option]:
    return [one for one in command.params if isinstance(one, click.Option)]


def _names(option: click.Option) -> str:
    metavar = option.metavar or (
        f"[{'|'.join(map(str, option.type.choices))}]"
        if isinstance(option.type, click.Choice)
        else option.type.name.upper()
    )
    takes = "" if option.is_flag or option.count else f" {metavar}"
    names = ", ".join([*option.opts, *option.secondary_opts])
    return f"`{_plain(names + takes)}`"


def _value(option: click.Option, context: click.Context) -> str:
    said = re.search(r"\s*\[default: (.*?)\]", option.help or "", re.DOTALL)
    if said:
        return _plain(said[1])
    extra = option.get_help_extra(context).get("default")
    return _plain(extra) if extra and not option.is_flag else ""


def _words(option: click.Option) -> str:
    text = re.sub(r"\s*\[default: .*?\]", "", option.help or "", flags=re.DOTALL)
    variables = _variables(option)
    if variables:
        text += f" Variable: {', '.join(f'`{one}`' for one in variables)}."
    return _plain(text)


def _variables(option: click.Option) -> list[str]:
    variable = option.envvar
    if not variable:
        return []
    return [variable] if isinstance(variable, str) else list(variable)


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
