"""Any sequence of calls leaves the journal as the move table says: a model in memory goes the same way."""

import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from orchestrator import states
from orchestrator.errors import Superseded
from orchestrator.model import Consistency, Owner, Run, State, Step, Target
from orchestrator.ports import Journal
from tests.fakes.journal import MemoryJournal
from tests.journals import NOW, OURS, THEIRS, StoppedClock, a_run, a_step, open_journal

MACHINES = ["db1", "db2", "db3"]
OWNERS = st.sampled_from([OURS, THEIRS])
PREFERRED = list(Consistency)


class JournalMachine(RuleBasedStateMachine):
    """Runs over few machines, so that they meet."""

    runs = Bundle("runs")
    #: Makes an empty journal, to be closed with the stack.
    make: Callable[[ExitStack], Journal]

    @initialize()
    def begin(self) -> None:
        self.stack = ExitStack()
        self.journal = type(self).make(self.stack)
        self.model: dict[str, Run] = {}

    def teardown(self) -> None:
        self.stack.close()

    @rule(target=runs, machines=st.permutations(MACHINES), count=st.integers(1, 3), group=st.booleans())
    def open_run(self, machines: list[str], count: int, group: bool) -> str:
        run = a_run(f"r{len(self.model)}", *machines[:count], group=group)
        busy = {target.machine.name for run in self.model.values() for target in run.targets if is_open(target)}
        refused = {name for name in machines[:count] if name in busy or (group and busy.intersection(machines[:count]))}
        opened = self.journal.open_run(run)
        assert {target.machine.name for target in opened.targets if target.state is State.REFUSED} == refused
        assert {target.machine.name for target in opened.targets if target.error} == refused
        self.model[run.id] = settled(replace(run, targets=opened.targets))
        return run.id

    @rule(
        run_id=runs,
        owner=OWNERS,
        machine=st.sampled_from(MACHINES),
        state=st.sampled_from(State),
        consistency=st.sampled_from(Consistency),
        snapshot=st.sampled_from([None, {"files": ["a"]}]),
        error=st.sampled_from([None, "slow"]),
        count=st.integers(0, 2),
    )
    def move(self, run_id: str, owner: Owner, machine: str, state: State, count: int, **fields: Any) -> None:
        run = self.model[run_id]
        before = {target.machine.name: target for target in run.targets}.get(machine)
        spec = a_run("", machine).targets[0].machine
        target, steps = Target(spec, state, **fields), new_steps(run, machine, count)
        permitted = before is not None and (before.state, state) in states.MOVES and owner == run.owner
        assert permitted == lands(self.journal.move, replace(run, owner=owner), target, steps)
        if permitted:
            self.model[run_id] = settled(replace(run.with_target(target), steps=(*run.steps, *steps)))

    @rule(run_id=runs, count=st.integers(0, 3))
    def record(self, run_id: str, count: int) -> None:
        run = self.model[run_id]
        steps = new_steps(run, run.targets[0].machine.name, count)
        self.journal.record(run, steps)
        self.model[run_id] = replace(run, steps=(*run.steps, *steps))

    @rule(run_id=runs, before=OWNERS, after=OWNERS)
    def take_over(self, run_id: str, before: Owner, after: Owner) -> None:
        run = self.model[run_id]
        permitted = before == run.owner and run.state in states.OPEN
        assert permitted == lands(self.journal.take_over, replace(run, owner=before), after)
        if permitted:
            self.model[run_id] = replace(run, owner=after)

    @invariant()
    def reads_as_the_model(self) -> None:
        newest = sorted(self.model.values(), key=lambda run: (run.state is State.STUCK, run.id), reverse=True)
        assert self.journal.history(100) == tuple(replace(run, steps=()) for run in newest)
        still_open = [self.model[run_id] for run_id in sorted(self.model) if self.model[run_id].finished_at is None]
        assert self.journal.open_runs() == tuple(still_open)
        held = [target.machine.name for run in still_open for target in run.targets if is_open(target)]
        assert len(held) == len(set(held))


def is_open(target: Target) -> bool:
    """Whether the target keeps its machine."""
    return target.state in states.OPEN


def new_steps(run: Run, machine: str, count: int) -> list[Step]:
    """Steps that no other call has given to this run."""
    return [a_step(machine, len(run.steps) + number) for number in range(count)]


def lands(write: Callable[..., object], *arguments: object) -> bool:
    """Whether a guarded write landed."""
    try:
        write(*arguments)
    except Superseded:
        return False
    return True


def settled(run: Run) -> Run:
    """The run with everything that follows from its targets."""
    errors = [(target.machine.name, target.error) for target in run.targets if target.error]
    return replace(
        run,
        state=states.worst(target.state for target in run.targets),
        consistency=PREFERRED[max(PREFERRED.index(target.consistency) for target in run.targets)],
        finished_at=None if any(map(is_open, run.targets)) else NOW,
        error="; ".join(e if len(run.targets) == 1 else f"{name}: {e}" for name, e in errors) or None,
    )


def test_every_sequence_of_calls_follows_the_move_table(sqlite_template: Path) -> None:
    def make(stack: ExitStack) -> Journal:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        return stack.enter_context(closing(open_journal(f"sqlite:///{shutil.copy(sqlite_template, folder)}")))

    walk(make)


def test_the_journal_in_memory_follows_it_too() -> None:
    walk(lambda _: MemoryJournal(StoppedClock()))


def walk(make_journal: Callable[[ExitStack], Journal]) -> None:
    class OnThisJournal(JournalMachine):
        make = staticmethod(make_journal)

    run_state_machine_as_test(OnThisJournal, settings=settings(max_examples=25, stateful_step_count=25, deadline=None))
