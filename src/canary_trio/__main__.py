"""`python -m canary_trio` is the command `canary`, also where no script is on the path."""

from __future__ import annotations

from canary_trio.command.cli.main import main

if __name__ == "__main__":
    main()
