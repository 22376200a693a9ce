"""The crash matrix on real guests: some of its boundaries with every change, all of them with `make soak`."""

from collections.abc import Mapping, Sequence

import pytest

from tests.lab import PATIENCE, BareGuest, Guest, wait_for
from tests.lab.domain import LibvirtGuest
from tests.matrix.guests import CUT, FROZEN, LONG, NOT_THERE, crossed_by_a_run, trial
from tests.matrix.rounds import Column, document, several

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real


def end(guest: Guest, boundary: str, *, with_guard: bool = False, with_agent: bool = False) -> str:
    """End the run there, and whoever else; recover; return what the history says when everything held."""
    with trial(guest) as made:
        run = made.command("run", "job", "--json", end=boundary, with_guard=with_guard)
        if with_agent:
            guest.kill_agent()
            guest.start_agent()
        if not with_guard:
            wait_for(lambda: not guest.fs_frozen(), PATIENCE, "the guard's thaw")
        made.recover()
        seen = made.check()
        return seen if run.killed else NOT_THERE


def end_twice(guest: Guest, boundary: str, repair: str) -> str:
    """End the run and its guard there, then the recovery at a boundary of its own; recover."""
    with trial(guest) as made:
        run = made.command("run", "job", "--json", end=boundary, with_guard=True)
        recovery = made.command("recover", "--json", end=repair)
        made.recover()
        seen = made.check()
        return seen if run.killed and recovery.killed else NOT_THERE


@pytest.mark.parametrize("boundary", [pytest.param(FROZEN, marks=pytest.mark.soak), CUT])
def test_the_run_and_its_guard_are_ended(bare_guest: BareGuest, boundary: str) -> None:
    assert end(bare_guest, boundary, with_guard=True) == f"recovered, {'crash' if boundary == CUT else 'none'}"


def test_the_run_is_ended(libvirt_guest: LibvirtGuest) -> None:
    assert end(libvirt_guest, CUT) == "recovered, crash"


def test_the_run_its_guard_and_the_agent_are_ended(bare_guest: BareGuest) -> None:
    assert end(bare_guest, CUT, with_guard=True, with_agent=True) == "recovered, crash"


@pytest.mark.parametrize("repair", [pytest.param("before agent.thaw", marks=pytest.mark.soak), "after agent.thaw"])
def test_the_recovery_is_ended_too(bare_guest: BareGuest, repair: str) -> None:
    assert end_twice(bare_guest, CUT, repair) == "recovered, crash"


#: How often a recovery's crossing of the same boundary is told apart from the time before.
LOOKS = 3

RUN: Mapping[str, Column[Guest]] = {
    "SIGKILL": end,
    "its guard too": lambda guest, boundary: end(guest, boundary, with_guard=True),
    "guard and agent too": lambda guest, boundary: end(guest, boundary, with_guard=True, with_agent=True),
}
RECOVERY: Mapping[str, Column[Guest]] = {
    FROZEN: lambda guest, repair: end_twice(guest, FROZEN, repair),
    CUT: lambda guest, repair: end_twice(guest, CUT, repair),
}


@pytest.mark.soak
@pytest.mark.timeout(LONG)
@pytest.mark.parametrize(("part", "form"), [("bare", BareGuest), ("libvirt", LibvirtGuest)])
def test_the_run_is_ended_at_every_boundary(lab: None, part: str, form: type[Guest]) -> None:
    """What was seen is written into the document, also when something did not hold."""
    with several(form) as guests:
        document(part, "the run is ended", guests, crossed_by_a_run(guests[0].at_rest()), RUN)


@pytest.mark.soak
@pytest.mark.timeout(LONG)
@pytest.mark.parametrize(("part", "form"), [("bare recovery", BareGuest), ("libvirt recovery", LibvirtGuest)])
def test_the_recovery_is_ended_at_every_boundary(lab: None, part: str, form: type[Guest]) -> None:
    with several(form) as guests:
        document(part, "the recovery is ended", guests, crossed_by_a_recovery(guests[0].at_rest()), RECOVERY)


def crossed_by_a_recovery(guest: Guest) -> Sequence[str]:
    """The boundaries of a recovery after a run that was ended with its guard when it had been cut.

    It watches the guest for as long as a freeze may still land, half a minute under libvirt: one look is as the other.
    """
    with trial(guest) as made:
        made.command("run", "job", "--json", end=CUT, with_guard=True)
        return [boundary for boundary in made.recover() if int(boundary.partition(", ")[2] or 1) <= LOOKS]
