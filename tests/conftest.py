"""No test asserts a time, so hypothesis is not to do it either: machines differ."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("canary-trio", deadline=None)
settings.load_profile("canary-trio")


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what commands remember apart from the user's, and from other runs'."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield
