"""The command `kv-trio`: serve a store, look at one, change one.

Exit status: 0 done; 1 failed, with one line on stderr; 2 wrong usage; 3 no such key;
4 the condition did not hold.
"""

from __future__ import annotations

import click

from canary_health.commands import health_of
from kv_trio.cli.bulk_commands import backup, compact, export, import_
from kv_trio.cli.directory_commands import check, token
from kv_trio.cli.key_commands import delete, get, history, list_, put, watch
from kv_trio.cli.serve import serve

_SERVER_COMMANDS = (serve, check, token)
_KEY_COMMANDS = (get, put, delete, list_, watch, history)
_BULK_COMMANDS = (export, import_, compact, backup)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="canary-trio")
def main() -> None:
    """A versioned key-value store that speaks Consul's KV API, and its watch.

    Exit status: 0 done, 1 failed, 2 wrong usage, 3 no such key, 4 the condition did not
    hold.
    """


for _command in _SERVER_COMMANDS + _KEY_COMMANDS + _BULK_COMMANDS:
    main.add_command(_command)
main.add_command(health_of("kv-trio"))
