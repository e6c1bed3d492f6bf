"""The command `canary`: serve a service, and look at and change its document.

Exit status: 0 done; 1 refused or failed, with one line on stderr per fault; 2 wrong
usage; 3 written, but when `--wait` ran out not live everywhere, no proxy was live, or
the store went away before that was known; or nobody is about to take back what has to be
confirmed.
"""

from __future__ import annotations

import click

from canary_health.command_group import CommandGroup
from canary_health.commands import health_of

_HERE = "canary_trio.command.cli."

COMMANDS = {
    "admin-token": _HERE + "admin_token:admin_token",
    "apply": _HERE + "changes.documents:apply",
    "bench": _HERE + "proof.bench:bench",
    "check": _HERE + "views.check:check",
    "console": _HERE + "views.console:console",
    "confirm": _HERE + "changes.pending:confirm",
    "diff": _HERE + "changes.history:diff",
    "demo": _HERE + "demo.command:demo",
    "edit": _HERE + "changes.edit:edit",
    "explain": _HERE + "views.explain:explain",
    "get": _HERE + "changes.documents:get",
    "freeze": _HERE + "rollout.freezing:freeze",
    "history": _HERE + "changes.history:history",
    "passwd": _HERE + "passwd:passwd",
    "rehearse": _HERE + "views.rehearse:rehearse",
    "revert": _HERE + "changes.pending:revert",
    "rollback": _HERE + "changes.history:rollback",
    "policy": _HERE + "views.policy:policy",
    "rollout": _HERE + "rollout.group:rollout",
    "schema": _HERE + "changes.documents:schema",
    "secret": _HERE + "changes.secret:secret",
    "serve": _HERE + "serve:serve",
    "services": _HERE + "views.services:services",
    "set": _HERE + "changes.documents:set_",
    "status": _HERE + "views.status:status",
    "undo": _HERE + "changes.history:undo",
    "unfreeze": _HERE + "rollout.freezing:unfreeze",
    "unset": _HERE + "changes.documents:unset",
    "watch": _HERE + "watching.watch:watch",
    "verify": _HERE + "verify:verify",
    "validate": _HERE + "changes.documents:validate",
}
"""Where each command is, as `module:attribute`; it is imported when it is run."""


@click.group(
    cls=CommandGroup,
    places=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="canary-trio")
def main() -> None:
    """A canary-release reverse proxy that is reconfigured while it runs."""


main.add_command(health_of("canary"))
