"""`python -m kv_trio` is the command `kv-trio`, also where no script is on the path."""

from __future__ import annotations

from kv_trio.cli.main import main

if __name__ == "__main__":
    main()
