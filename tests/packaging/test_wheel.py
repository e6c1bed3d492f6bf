"""The wheel works when it is installed alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = {
    "pytest",
    "mypy",
    "ruff",
    "hypothesis",
    "mkdocs",
    "hatchling",
    "build",
    "hypercorn",
    "matplotlib",
    "playwright",
}
"""What makes and tests it."""


def _run(*words: object) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        check=True,
        capture_output=True,
        text=True,
        cwd="/",
    )
    return done.stdout


def test_the_wheel_works_alone(tmp_path: Path) -> None:
    _run(
        *(sys.executable, "-m", "build", "--wheel", "--no-isolation"),
        *("--outdir", tmp_path, ROOT),
    )
    (wheel,) = tmp_path.glob("canary_trio-*.whl")
    _run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "alone")
    bin_ = tmp_path / "alone" / "bin"
    _run(
        *(sys.executable, "-m", "pip", "--python", bin_ / "python", "install"),
        *(
            "--quiet",
            "--disable-pip-version-check",
            "-c",
            ROOT / "constraints.txt",
            wheel,
        ),
    )

    installed = (
        "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    )
    there = {name.lower() for name in _run(bin_ / "python", "-c", installed).split()}
    assert "trio" in there
    assert there & TOOLS == set(), "a user's install needs none of them"
    assert "ratio" in _run(bin_ / "canary", "set", "--help")
    assert "requests" in _run(
        *(bin_ / "canary", "demo", "--for", "1.5", "--bind", "127.0.0.1:0"),
        *("--admin", "127.0.0.1:0", "--store", "127.0.0.1:0"),
    )
    assert "kv-trio, version" in _run(bin_ / "kv-trio", "--version")
    typed = "import http_trio, pathlib as p; print((p.Path(http_trio.__file__).parent / 'py.typed').exists())"
    assert _run(bin_ / "python", "-c", typed) == "True\n"
