"""The command `kv-trio`: serve a store, look at one, change one.

Exit status: 0 done; 1 failed, with one line on stderr; 2 wrong usage; 3 no such key;
4 the condition did not hold.
"""

from __future__ import annotations

import click

from canary_health.command_group import CommandGroup
from canary_health.commands import health_of

_HERE = "kv_trio.cli."

COMMANDS = {
    "backup": _HERE + "bulk_commands:backup",
    "check": _HERE + "directory_commands:check",
    "compact": _HERE + "bulk_commands:compact",
    "delete": _HERE + "key_commands:delete",
    "export": _HERE + "bulk_commands:export",
    "get": _HERE + "key_commands:get",
    "history": _HERE + "key_commands:history",
    "import": _HERE + "bulk_commands:import_",
    "list": _HERE + "key_commands:list_",
    "put": _HERE + "key_commands:put",
    "serve": _HERE + "serve:serve",
    "token": _HERE + "directory_commands:token",
    "watch": _HERE + "key_commands:watch",
}
"""Where each command is, as `module:attribute`; it is imported when it is run."""


@click.group(
    cls=CommandGroup,
    places=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="canary-trio")
def main() -> None:
    """A versioned key-value store that speaks Consul's KV API, and its watch.

    Exit status: 0 done, 1 failed, 2 wrong usage, 3 no such key, 4 the condition did not
    hold.
    """


main.add_command(health_of("kv-trio"))
