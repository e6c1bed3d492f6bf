"""A package's face: its public names, each imported when somebody asks for it (PEP 562).

Who imports one value shall not import a server with it: a command that writes a key would
wait for that longer than for the store. Whoever checks types sees plain imports, beside which
a face says where each name is; a test holds the two together. The rule that faces obey: no
public name is that of a module in the package, since importing the module would hide it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy_face(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Give the `__getattr__` and the `__dir__` of a package.

    Args:
        package: its name.
        homes: by module, relative to it, the names that are there, with spaces between.
    """
    module = sys.modules[package]
    home_of = {name: home for home, names in homes.items() for name in names.split()}

    def get(name: str) -> Any:
        home = home_of.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(f"{package}.{home}"), name)
        setattr(module, name, found)  # the next one does not come here
        return found

    def names() -> list[str]:
        return sorted({*vars(module), *home_of})

    return get, names
