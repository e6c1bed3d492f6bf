"""A group of commands, each named by a string and imported when somebody runs it.

A command that reads one key shall not import a server, so a group knows of its commands only
where they are, as in an entry point. Help, and the completion of a shell, import all of them,
since each says itself what it does.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click


class CommandGroup(click.Group):
    """A group whose commands are imported when they are asked for.

    Args:
        places: `module:attribute` of each command, by the name that it is called by.
        attributes: as of `click.Group`.
    """

    def __init__(
        self, *args: Any, places: Mapping[str, str], **attributes: Any
    ) -> None:
        super().__init__(*args, **attributes)
        self._places = dict(places)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names of all, in order."""
        return sorted({*super().list_commands(ctx), *self._places})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Give one of them; None if there is none of this name."""
        place = self._places.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = place.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        assert isinstance(found, click.Command), place
        return found
