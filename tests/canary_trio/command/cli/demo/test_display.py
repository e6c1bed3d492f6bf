"""What the demonstration counts."""

from canary_trio.command.cli.demo.display import SERVICE, DemoRecord
from canary_trio.control.store_keys import config_key


async def test_a_response_under_way_during_a_change_is_none_of_the_new_revision() -> (
    None
):
    record = DemoRecord()
    sent = len(record.changes)
    record.written({config_key(SERVICE).encode()}, 7, 0.0)
    record.live(7)
    record.responded("v1", sent)
    assert record.share("v1") == 0.0
    record.responded("v2", len(record.changes))
    assert record.share("v2") == 1.0
    assert record.total == 2
    assert record.responses == {"v1": 1, "v2": 1}
