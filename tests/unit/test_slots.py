"""How many machines are worked on at once, whoever wants how many of what."""

import threading
from collections import Counter
from contextlib import ExitStack

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.clock import Deadline, Stop, SystemClock, Task
from orchestrator.model import Job, Machine
from orchestrator.slots import Slots

CLOCK = SystemClock()
ONE, OTHER = (
    Machine(name, hypervisor=uri, domain=name) for name, uri in [("one", "qemu:///a"), ("other", "qemu:///b")]
)
BARE = Machine("bare", agent="/run/bare.sock")


class Worker:
    """Takes slots on a thread of its own, and keeps them until it is told to go."""

    def __init__(self, slots: Slots, *machines: Machine, job: Job | None = None) -> None:
        self.entered, self.go, self.stop = threading.Event(), threading.Event(), Stop()
        self._work = slots, job or Job("job", (), "command"), machines
        self._task = Task(CLOCK, "worker", self._run)

    def _run(self) -> None:
        slots, job, machines = self._work
        with slots.taking(job, machines, self.stop):
            self.entered.set()
            self.go.wait()

    def enters(self) -> bool:
        return self.entered.wait(30)

    def leave(self) -> None:
        self.go.set()
        assert self._task.wait(Deadline.after(CLOCK, 30))
        self._task.result()


def test_without_limits_all_enter() -> None:
    workers = [Worker(Slots(CLOCK), ONE, OTHER, BARE) for _ in range(5)]
    assert all(worker.enters() for worker in workers)
    for worker in workers:
        worker.leave()


def test_the_next_enters_when_one_leaves() -> None:
    slots = Slots(CLOCK, overall=1)
    first = Worker(slots, BARE)
    assert first.enters()
    second = Worker(slots, ONE)
    first_is_alone = not second.entered.is_set()
    first.leave()
    assert second.enters()
    second.leave()
    assert first_is_alone


def test_a_hypervisor_s_limit_holds_up_nobody_on_another() -> None:
    slots = Slots(CLOCK, hypervisors={"qemu:///a": 1})
    busy = Worker(slots, ONE)
    assert busy.enters()
    waiting = Worker(slots, ONE)
    others = [Worker(slots, OTHER), Worker(slots, BARE)]
    assert all(worker.enters() for worker in others)
    assert not waiting.entered.is_set()
    busy.leave()
    assert waiting.enters()
    for worker in [waiting, *others]:
        worker.leave()


def test_a_job_s_limit_is_its_own() -> None:
    slots, limited = Slots(CLOCK), Job("limited", (), "command", max_parallel=1)
    busy = Worker(slots, ONE, job=limited)
    assert busy.enters()
    other = Worker(slots, OTHER)
    assert other.enters()
    waiting = Worker(slots, OTHER, job=limited)
    assert not waiting.entered.is_set()
    for worker in [busy, other, waiting]:
        worker.leave()


def test_more_than_a_limit_allows_are_let_in_alone_and_in_their_turn() -> None:
    slots = Slots(CLOCK, overall=2)
    busy = Worker(slots, ONE)
    assert busy.enters()
    large = Worker(slots, ONE, OTHER, BARE)
    with ExitStack() as stack:
        stack.callback(large.leave)
        small = Worker(slots, BARE)  # there is room, and the large one was first
        assert not small.entered.is_set()
        busy.leave()
        assert large.enters()
        assert not small.entered.is_set()
    assert small.enters()
    small.leave()


def test_who_is_asked_to_end_waits_for_no_place() -> None:
    slots = Slots(CLOCK, overall=1)
    busy, waiting = Worker(slots, ONE), Worker(slots, OTHER)
    assert busy.enters() or waiting.enters()
    for worker in (busy, waiting):
        worker.stop.request()
    assert busy.enters()
    assert waiting.enters()
    busy.leave()
    waiting.leave()


@given(st.integers(1, 4), st.lists(st.integers(1, 3), min_size=1, max_size=12))
def test_a_limit_is_never_passed_and_all_get_their_turn(limit: int, sizes: list[int]) -> None:
    slots, lock, now, most = Slots(CLOCK, overall=limit), threading.Lock(), Counter[str](), []

    def work(size: int) -> None:
        with slots.taking(Job("job", (), "command"), [BARE] * size, Stop()):
            with lock:
                now["machines"] += size
                now["workers"] += 1
                most.append((now["machines"], now["workers"]))
            with lock:
                now["machines"] -= size
                now["workers"] -= 1

    tasks = [Task(CLOCK, "worker", lambda size=size: work(size)) for size in sizes]  # type: ignore[misc]
    for task in tasks:
        assert task.wait(Deadline.after(CLOCK, 60))
        task.result()
    assert len(most) == len(sizes)
    assert all(machines <= limit or workers == 1 for machines, workers in most)
