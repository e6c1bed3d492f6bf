"""What all tests have in common: how much is drawn and traced, and where state is.

No test asserts a time, so hypothesis is not to do it either: machines differ. CI runs
much of this twice, on two Pythons, and draws half of the examples in each.
"""

import gc
import sys
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

EXAMPLES = 100

settings.register_profile("canary-trio", deadline=None, max_examples=EXAMPLES)
settings.register_profile("half", deadline=None, max_examples=EXAMPLES // 2)
settings.load_profile("canary-trio")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Spare the search for cycles what is there until the end: all modules and tests.

    It was a twelfth of the processor time of tests that start nothing.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Let coverage not follow a simulation, which goes the same way thousands of times.

    Of this thread alone: coverage as a whole, stopped and begun again, would lose the threads
    that are kept for the next tests.
    """
    follows = sys.gettrace()
    if follows is None or item.get_closest_marker("simulation") is None:
        yield
        return
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(follows)


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what commands remember apart from the user's, and from other runs'."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield
