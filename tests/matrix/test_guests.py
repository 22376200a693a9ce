"""The crash matrix on real guests: some of its boundaries with every change, all of them with `make soak`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory

import pytest

from tests.lab import PATIENCE, BareGuest, Guest, LabError, wait_for
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
#: Seconds for all cases of one form.
LONG = 2 * 3600
#: Guests at once: much of a case is waiting, above all for what libvirt may hold back.
AT_ONCE = 4

#: What is done to a guest at a boundary, and what is seen after it.
Column = Callable[[Guest, str], str]


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


RUN: Mapping[str, Column] = {
    "SIGKILL": end,
    "its guard too": lambda guest, boundary: end(guest, boundary, with_guard=True),
    "guard and agent too": lambda guest, boundary: end(guest, boundary, with_guard=True, with_agent=True),
}
RECOVERY: Mapping[str, Column] = {
    FROZEN: lambda guest, repair: end_twice(guest, FROZEN, repair),
    CUT: lambda guest, repair: end_twice(guest, CUT, repair),
}


@pytest.mark.soak
@pytest.mark.timeout(LONG)
@pytest.mark.parametrize(("part", "form"), [("bare", BareGuest), ("libvirt", LibvirtGuest)])
def test_the_run_is_ended_at_every_boundary(lab: None, part: str, form: type[Guest]) -> None:
    """What was seen is written into the document, also when something did not hold."""
    with several(form) as guests:
        document(part, "the run is ended", guests, crossed_by_a_run, RUN)


@pytest.mark.soak
@pytest.mark.timeout(LONG)
@pytest.mark.parametrize(("part", "form"), [("bare recovery", BareGuest), ("libvirt recovery", LibvirtGuest)])
def test_the_recovery_is_ended_at_every_boundary(lab: None, part: str, form: type[Guest]) -> None:
    with several(form) as guests:
        document(part, "the recovery is ended", guests, crossed_by_a_recovery, RECOVERY)


def document(
    part: str,
    corner: str,
    guests: Sequence[Shared[Guest]],
    crossed: Callable[[Guest], Sequence[str]],
    columns: Mapping[str, Column],
) -> None:
    """Try each boundary in each column, and write the table into the document."""
    boundaries = crossed(guests[0].at_rest())
    free: SimpleQueue[Shared[Guest]] = SimpleQueue()
    for guest in guests:
        free.put(guest)

    def attempt(boundary: str, column: Column) -> str:
        shared = free.get()
        try:
            return column(shared.at_rest(), boundary)
        except (AssertionError, LabError, ValueError) as error:
            return BROKEN + str(error).partition("\n")[0].replace("|", "/")
        finally:
            free.put(shared)

    with ThreadPoolExecutor(len(guests)) as threads:
        rows = [[threads.submit(attempt, boundary, column) for column in columns.values()] for boundary in boundaries]
        cells = [[cell.result() for cell in row] for row in rows]
    tried = [cell for row in cells for cell in row if cell != NOT_THERE]
    broken = [cell for cell in tried if cell.startswith(BROKEN)]
    said = f"**{len(broken)} did not hold**" if broken else "all held"
    rows_seen = [[boundary, *row] for boundary, row in zip(boundaries, cells, strict=True)]
    head = f"{len(tried)} cases on {datetime.now(UTC):%Y-%m-%d}: {said}."
    write(part, f"{head}\n\n{table([corner, *columns], rows_seen)}")
    assert not broken


@contextmanager
def several(form: type[Guest]) -> Iterator[Sequence[Shared[Guest]]]:
    """Guests of one form, which end with the `with`."""
    with ExitStack() as stack:
        guests: list[Shared[Guest]] = [Shared(form) for _ in range(AT_ONCE)]
        for guest in guests:
            stack.callback(guest.stop)
        yield guests


def crossed_by_a_run(guest: Guest) -> Sequence[str]:
    """The boundaries of a run in which nothing goes wrong."""
    with trial(guest) as made:
        return made.command("run", "job", "--json").crossed


def crossed_by_a_recovery(guest: Guest) -> Sequence[str]:
    """The boundaries of a recovery after a run that was ended with its guard when it had been cut."""
    with trial(guest) as made:
        made.command("run", "job", "--json", end=CUT, with_guard=True)
        return made.recover()
