"""Many cases on a few real guests at once, and what was seen in them as a part of the document."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import TypeVar

from tests.lab import Guest, LabError
from tests.lab.sharing import Shared
from tests.matrix.document import write
from tests.matrix.guests import NOT_THERE
from tests.tables import table

BROKEN = "**broken:** "
#: Guests at once: much of a case is waiting, above all for what libvirt may hold back.
AT_ONCE = 6

SomeGuest = TypeVar("SomeGuest", bound=Guest)
#: What is done to a guest at a boundary, and what is seen after it.
Column = Callable[[SomeGuest, str], str]


@contextmanager
def several(make: Callable[[], SomeGuest]) -> Iterator[Sequence[Shared[SomeGuest]]]:
    """Guests of one kind, which end with the `with`."""
    with ExitStack() as stack:
        guests = [Shared(make) for _ in range(AT_ONCE)]
        for guest in guests:
            stack.callback(guest.stop)
        yield guests


def document(
    part: str,
    corner: str,
    guests: Sequence[Shared[SomeGuest]],
    boundaries: Sequence[str],
    columns: Mapping[str, Column[SomeGuest]],
) -> None:
    """Try each boundary in each column, and write the table into the document. Fail unless everything held."""
    free: SimpleQueue[Shared[SomeGuest]] = SimpleQueue()
    for guest in guests:
        free.put(guest)

    def attempt(boundary: str, column: Column[SomeGuest]) -> str:
        shared = free.get()
        try:
            seen = column(shared.at_rest(), boundary)
            return seen if seen != NOT_THERE else column(shared.at_rest(), boundary)  # A busy host may have been slow.
        except (AssertionError, LabError, ValueError) as error:
            return BROKEN + str(error).partition("\n")[0].replace("|", "/")
        finally:
            free.put(shared)

    with ThreadPoolExecutor(len(guests)) as threads:
        begun = [[threads.submit(attempt, boundary, column) for column in columns.values()] for boundary in boundaries]
        try:
            seen = [[cell.result() for cell in row] for row in begun]
        except BaseException:  # Nobody waits for those that have not begun.
            threads.shutdown(cancel_futures=True)
            raise
    tried = [cell for row in seen for cell in row if cell != NOT_THERE]
    broken = [cell for cell in tried if cell.startswith(BROKEN)]
    said = f"**{len(broken)} did not hold**" if broken else "all held"
    rows = [[boundary, *row] for boundary, row in zip(boundaries, seen, strict=True)]
    write(part, f"{len(tried)} cases on {datetime.now(UTC):%Y-%m-%d}: {said}.\n\n{table([corner, *columns], rows)}")
    assert not broken
