"""The crash matrix on real guests: some of its boundaries with every change, all of them with `make soak`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.lab import BareGuest, Guest
from tests.lab.domain import LibvirtGuest
from tests.lab.sharing import Shared
from tests.matrix.document import write
from tests.matrix.guests import Trial
from tests.tables import table

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real

#: Where the guest is frozen: before the cut, and after it.
FROZEN, CUT = "after agent.freeze", "after driver.cut"
#: In the table, where a process never came to the boundary: it has it only when something is slow.
NOT_THERE = "-"
BROKEN = "**broken:** "
LEGEND = """Real kernels, the real agent, QEMU alone (*bare*) and under libvirt; the installed command makes external
snapshots of an ext4 and an XFS. A cell is what the history says after the recovery; the guest's kernel was asked what
is frozen, QEMU for the chain of its disks, and the folder for overlays. The second table is of a recovery after a run
that was ended together with its guard, before and after the cut."""
#: Seconds for all of it.
LONG = 4 * 3600

#: What is done at a boundary, and what is seen after it.
Column = Callable[[str], str]


@contextmanager
def trial(guest: Guest) -> Iterator[Trial]:
    with TemporaryDirectory(prefix="quiesce-matrix-") as folder, closing(Trial(Path(folder), guest)) as made:
        yield made


def end(guest: Guest, boundary: str, *, with_guard: bool = False, with_agent: bool = False) -> str:
    """End the run there, and whoever else; recover; return what the history says when everything held."""
    with trial(guest) as made:
        run = made.command("run", "job", "--json", end=boundary, with_guard=with_guard)
        if with_agent:
            guest.kill_agent()
            guest.start_agent()
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


@pytest.mark.parametrize("boundary", [FROZEN, CUT])
def test_the_run_and_its_guard_are_ended(bare_guest: BareGuest, boundary: str) -> None:
    assert end(bare_guest, boundary, with_guard=True) == f"recovered, {'crash' if boundary == CUT else 'none'}"


def test_the_run_is_ended(libvirt_guest: LibvirtGuest) -> None:
    assert end(libvirt_guest, CUT) == "recovered, crash"


def test_the_run_its_guard_and_the_agent_are_ended(bare_guest: BareGuest) -> None:
    assert end(bare_guest, CUT, with_guard=True, with_agent=True) == "recovered, crash"


@pytest.mark.parametrize("repair", ["before agent.thaw", "after agent.thaw"])
def test_the_recovery_is_ended_too(bare_guest: BareGuest, repair: str) -> None:
    assert end_twice(bare_guest, CUT, repair) == "recovered, crash"


@pytest.mark.soak
@pytest.mark.timeout(LONG)
def test_all_boundaries(shared_bare_guest: Shared[BareGuest], shared_libvirt_guest: Shared[LibvirtGuest]) -> None:
    """What was seen is written into the document, also when something did not hold."""
    bare, libvirt = shared_bare_guest.at_rest, shared_libvirt_guest.at_rest
    columns: dict[str, Column] = {
        "bare: SIGKILL": lambda boundary: end(bare(), boundary),
        "bare: its guard too": lambda boundary: end(bare(), boundary, with_guard=True),
        "bare: guard and agent too": lambda boundary: end(bare(), boundary, with_guard=True, with_agent=True),
        "libvirt: SIGKILL": lambda boundary: end(libvirt(), boundary),
    }
    repairs: dict[str, Column] = {
        FROZEN: lambda repair: end_twice(bare(), FROZEN, repair),
        CUT: lambda repair: end_twice(bare(), CUT, repair),
    }
    runs = fill(crossed_by_a_run(bare()), columns)
    recoveries = fill(crossed_by_a_recovery(bare()), repairs)
    cells = [cell for row in (*runs, *recoveries) for cell in row[1:] if cell != NOT_THERE]
    broken = sum(cell.startswith(BROKEN) for cell in cells)
    said = "all held" if not broken else f"**{broken} did not hold**"
    head = f"{len(cells)} cases on {datetime.now(UTC):%Y-%m-%d}: {said}. {LEGEND}"
    ended, ended_too = (
        table(["the run is ended", *columns], runs),
        table(["the recovery is ended", *repairs], recoveries),
    )
    write("guests", f"{head}\n\n{ended}\n\n{ended_too}")
    assert not broken


def crossed_by_a_run(guest: Guest) -> Sequence[str]:
    """The boundaries of a run in which nothing goes wrong."""
    with trial(guest) as made:
        return made.command("run", "job", "--json").crossed


def crossed_by_a_recovery(guest: Guest) -> Sequence[str]:
    """The boundaries of a recovery after a run that was ended with its guard when it had been cut."""
    with trial(guest) as made:
        made.command("run", "job", "--json", end=CUT, with_guard=True)
        return made.recover()


def fill(boundaries: Sequence[str], columns: Mapping[str, Column]) -> list[list[str]]:
    """Try each boundary in each column."""
    return [[boundary, *(attempt(column, boundary) for column in columns.values())] for boundary in boundaries]


def attempt(column: Column, boundary: str) -> str:
    try:
        return column(boundary)
    except AssertionError as error:
        return BROKEN + str(error).partition("\n")[0].replace("|", "/")
