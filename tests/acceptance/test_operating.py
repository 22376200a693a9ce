"""Each of an operator's commands, on a guest of each form, with its agent well, absent, mute and frozen.

What a well guest does when its power is asked for is in test_power, as it takes a guest that may end.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.acceptance.product import Product
from tests.lab import HIDDEN_CHANNEL, Guest

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = [pytest.mark.real, pytest.mark.soak, pytest.mark.timeout(600)]

STATES = ("well", "absent", "mute", "frozen")
#: The exit code in each of the states; None: not tried.
EXPECTED: dict[str, tuple[int | None, int, int, int]] = {
    "agent vm ping": (0, 1, 1, 0),
    "agent vm info": (0, 1, 1, 0),
    "agent vm osinfo": (0, 1, 1, 1),
    "agent vm fsinfo": (0, 1, 1, 1),
    "agent vm users": (0, 1, 1, 1),
    "agent vm time": (0, 1, 1, 1),
    "agent vm hostname": (0, 1, 1, 1),
    "agent vm interfaces": (0, 1, 1, 1),
    "agent vm trim": (0, 1, 1, 5),
    "agent vm exec /bin/true": (0, 1, 1, 5),
    'agent vm raw {"execute":"guest-get-time"}': (0, 1, 1, 5),
    "check vm": (0, 1, 1, 5),
    "channel show vm": (0, 0, 0, 0),
    f"channel add vm --live --name {HIDDEN_CHANNEL} --path SOCKET": (0, 0, 0, 5),
    f"channel remove vm --live --name {HIDDEN_CHANNEL}": (0, 0, 0, 5),
    "power shutdown vm --mode agent --wait 1s": (None, 1, 1, 5),
    "power shutdown vm --mode acpi --wait 1s": (None, 1, 1, 5),
    "power shutdown vm --wait 1s": (None, 1, 1, 5),
    "power reboot vm --mode agent --wait 1s": (None, 1, 1, 5),
    "power suspend vm --wait 1s": (None, 1, 1, 5),
    "power wakeup vm --wait 1s": (1, 1, 1, 1),
}


@contextmanager
def in_state(guest: Guest, state: str) -> Iterator[None]:
    """Within the `with`, the guest's agent is so."""
    before = {"absent": guest.kill_agent, "mute": guest.stop_agent}
    after = {"absent": guest.start_agent, "mute": guest.cont_agent}
    if state == "frozen":
        guest.agent("guest-fsfreeze-freeze")
    before.get(state, lambda: None)()
    yield
    after.get(state, lambda: None)()
    if state == "frozen":
        assert guest.agent("guest-fsfreeze-thaw") == 2, "nothing has thawed it"


@pytest.mark.parametrize("state", STATES)
def test_each_command(product: Product, guest: Guest, state: str) -> None:
    column, found = STATES.index(state), {}
    wanted = {command: codes[column] for command, codes in EXPECTED.items() if codes[column] is not None}
    with in_state(guest, state):
        for command in wanted:
            ended = product(*command.replace("SOCKET", str(guest.work / "own")).split())
            found[command] = ended.code
            assert "Traceback" not in ended.err, ended.err
            said = ended.out + ended.err
            assert ended.code in {0, 5} or "vm: " in said or "machine=vm" in said, (command, ended)
            assert ended.code != 5 or "frozen" in said, (command, ended)
    assert found == wanted
    assert guest.run("true").status == 0, "it runs"
    del wanted["check vm"]  # it is a look, and no act
    state_of: dict[int | None, str] = {0: "done", 1: "failed", 5: "refused"}
    told = [run["state"] for run in product.history("--limit", "100")]
    assert told == [state_of[code] for code in reversed(wanted.values())]
