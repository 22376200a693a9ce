"""`quiesce notices test`, and the help of every command."""

from dataclasses import replace

import pytest

from orchestrator.model import Delivery
from tests.unit.cli.stub import Stub, quiesce

SENT = Delivery("q.toml: notices.urls[0] (json)")
LOST = Delivery("q.toml: notices.urls[1] (mailto)", "no answer in time")


@pytest.mark.parametrize(("deliveries", "code"), [((SENT,), 0), ((SENT, LOST), 1)])
def test_its_exit_code_says_whether_all_arrived(deliveries: tuple[Delivery, ...], code: int) -> None:
    ended = quiesce(replace(Stub(), deliveries=deliveries), "notices", "test")
    assert ended.exit_code == code
    lines = ended.stdout.splitlines()
    assert len(lines) == len(deliveries)
    assert lines[0] == 'notice to="q.toml: notices.urls[0] (json)" sent=true'
    assert code == 0 or 'error="no answer in time"' in lines[1]
