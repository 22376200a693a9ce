"""The laws, asked of the world's truth: of the kernel, the storage and the journal, never of what the product believes.

Most are asked at the moment when they could be broken: an act that begins, an answer that arrives, a write that has
landed. Those about how everything ends are in `reckoning`. A broken law is written down; the history ends there.
"""

import math
from collections.abc import Sequence

from orchestrator import states
from orchestrator.errors import CallError, CommandDisabled, Unreachable
from orchestrator.model import Action, Consistency, Cut, Outcome, Quiesce, Run, State, Target
from tests.fakes.journal import MemoryJournal
from tests.simulation.guard import Guards
from tests.simulation.guest import Guest
from tests.simulation.promise import Promise, Window
from tests.simulation.scheduler import Killed, Process, Scheduler

#: Seconds by which a living process may be late with a thaw: what the scheduler may take from it on its way.
_LATE = 1.0


class Laws:
    """What must never happen."""

    def __init__(self, journal: MemoryJournal, guards: Guards, scheduler: Scheduler) -> None:
        self._journal, self._guards, self._scheduler = journal, guards, scheduler
        self._promise = Promise(scheduler, guards, self.check)
        #: The machines, by name.
        self.guests: dict[str, Guest] = {}
        #: The first law that was broken, in words.
        self.broken: str | None = None
        #: The last freeze that we sent to each machine.
        self._windows: dict[str, Window] = {}
        self._cuts: set[tuple[str, str]] = set()
        #: When somebody asked for what each run does; a stranger's freeze from before then is not to be touched.
        self._asked: dict[str, float] = {}
        #: Fuses, each of a run in a machine, that were lit, and that somebody tried to put out.
        self._lit: set[tuple[str, str]] = set()
        self._put_out: set[tuple[str, str]] = set()
        #: The run that a thread opened last.
        self.opened: dict[object, str] = {}

    def check(self, holds: bool, law: str) -> None:
        """Write down that a law is broken unless it holds."""
        if not holds and self.broken is None:
            self.broken = law
            self._scheduler.tell(f"BROKEN: {law}")

    # Freeze and thaw

    def freeze_sent(self, process: Process, guest: Guest) -> Window:
        """A freeze is about to be sent: its intents, also those to cut and to thaw, are in the journal."""
        found = self._find_open(guest.name)
        self.check(found is not None, f"{guest.name}: frozen without an open run")
        if found is None:
            raise Killed  # There is nobody in whose name the kernel could freeze.
        run, target = found
        self.check(target.state is State.RUNNING, f"{guest.name}: frozen before the journal knows that it may be")
        for action in (Action.FREEZE, Action.CUT, Action.THAW):
            self.check(_intended(run, guest.name, action), f"{guest.name}: frozen without the intent to {action}")
        self.check(run.owner.pid == process.number, f"{guest.name}: frozen by a process that does not own the run")
        guard, _ = self._guards.last(process, (run.id, guest.name))
        self.check(guard is not None, f"{guest.name}: frozen, and no guard was armed for it")
        assert run.job is not None
        promised = run.job.fuse is not None and run.job.quiesce is Quiesce.REQUIRED
        self.check(not promised or (run.id, guest.name) in self._lit, f"{guest.name}: frozen without its fuse")
        self._windows[guest.name] = Window(process, run, run.job, self._scheduler.now, guest.excused)
        return self._windows[guest.name]

    def freeze_answered(self, guest: Guest, window: Window, error: CallError | None) -> None:
        """Our freeze was answered, or given up; from now on the hold limit counts."""
        window.refused, window.answered = isinstance(error, (Unreachable, CommandDisabled)), self._scheduler.now
        if not window.refused:
            limit = self._scheduler.now + window.job.hold_limit + _LATE
            self._scheduler.at(limit, lambda: self._hold_limit_has_come(window, guest))

    def freeze_landed(self, guest: Guest, window: Window) -> None:
        """The kernel holds the guest frozen for us."""
        self._promise.frozen(guest, window)

    def _hold_limit_has_come(self, window: Window, guest: Guest) -> None:
        owes = window.process.sound and not window.thaw_sent
        self.check(not owes, f"{guest.name}: held past the hold limit by a living process")

    def thaw_sent(self, process: Process, guest: Guest) -> None:
        """A thaw is about to be sent: the journal says that we may have frozen the guest, and has the run as ours."""
        found, window = self._find_open(guest.name), self._windows.get(guest.name)
        run = found and found[0]
        if window is not None and window.process is process and run is not None and window.run.id == run.id:
            self.check(not window.refused, f"{guest.name}: thawed, but never frozen")
            window.thaw_sent = True
        else:
            may = run is not None and any(_intended(run, guest.name, act) for act in (Action.FREEZE, Action.THAW))
            self.check(may, f"{guest.name}: thawed without an open run that intends it")
            owned = process.serves or (run is not None and run.owner.pid == process.number)  # a guard holds a lock
            self.check(owned, f"{guest.name}: thawed by a process that does not have the run in hand")

    def given_up(self, thread: object) -> str | None:
        """A thread lost its journal, and with it what it knew of its run; whoever recovers knows the journal alone."""
        run_id = self.opened.get(thread)
        self._windows = {name: window for name, window in self._windows.items() if window.run.id != run_id}
        return run_id

    def turned_away(self, guest: Guest, holder: Process) -> None:
        """A client could not connect, because of a living process. The one that froze has no excuse: it is fenced."""
        window = self._windows.get(guest.name)
        if window is None or window.process is not holder:
            guest.excuse()

    def foreign_thawed(self, guest: Guest, since: float) -> None:
        """Our thaw let a stranger's freeze go: only when it came after our run, which could not tell them apart."""
        found = self._find_open(guest.name)
        if found is not None:
            older = since < self._asked[found[0].id]
            self.check(not older, f"{guest.name}: a stranger's freeze, older than our run, was thawed")

    # The fuse

    def fuse_to_be_lit(self, run_id: str, guest: Guest) -> None:
        """A fuse is about to be lit: the journal knows, so that somebody puts it out."""
        found = self._find_open(guest.name)
        known = found is not None and found[0].id == run_id and _intended(found[0], guest.name, Action.FUSE)
        self.check(known, f"{guest.name}: a fuse is lit, and the journal does not know")

    def fuse_lit(self, run_id: str, guest: Guest) -> None:
        """A fuse burns its time in the guest."""
        self._lit.add((run_id, guest.name))

    def fuse_to_be_put_out(self, run_id: str, guest: Guest) -> None:
        """Somebody tries to put it out."""
        self._put_out.add((run_id, guest.name))

    # The storage

    def prepare_begins(self, run_id: str, machine: str) -> None:
        """Something is about to be made: the journal knows what, to remove it."""
        self.check(_intended(self._journal.runs[run_id], machine, Action.PREPARE), f"{machine}: prepared unjournaled")

    def cut_begins(self, process: Process, run_id: str, machine: str) -> None:
        """A cut is about to be made: journaled, by the run's owner, and once."""
        run = self._journal.runs[run_id]
        self.check(_intended(run, machine, Action.CUT), f"{machine}: cut before the intent is in the journal")
        self.check(run.target(machine).state is State.RUNNING, f"{machine}: cut by a run that is not running")
        self.check((run_id, machine) not in self._cuts, f"{machine}: cut twice by run {run_id}")
        self._cuts.add((run_id, machine))

    def discard_begins(self, run_id: str, machine: str) -> None:
        """Something is about to be removed: the journal knows, and knows too that no cut was made of it."""
        run = self._journal.runs[run_id]
        self.check(_intended(run, machine, Action.DISCARD), f"{machine}: removed unjournaled")
        steps = run.steps_of(machine)
        asked = any(step.figures.get("happened") is False for step in steps)
        asked |= any(step.action is Action.PUBLISH and step.outcome is Outcome.FAILED for step in steps)
        self.check(asked or (run_id, machine) not in self._cuts, f"{machine}: removed, and a cut was not asked for")

    def publish_begins(self, process: Process, run_id: str, machine: str) -> None:
        """A backup is about to become visible: journaled, by the run's owner."""
        run = self._journal.runs[run_id]
        self.check(_intended(run, machine, Action.PUBLISH), f"{machine}: published unjournaled")
        self.check(run.owner.pid == process.number, f"{machine}: published by a process that does not own the run")

    def published(self, machine: str, told: Cut, quiesced: bool, *, whole: bool) -> None:
        """A backup has become visible: whole, and no better than it is."""
        self.check(whole, f"{machine}: published before it was copied")
        proven = told.consistency in {Consistency.APPLICATION, Consistency.FILESYSTEM}
        self.check(quiesced or not proven, f"{machine}: published as {told.consistency}, and was not")

    # The journal

    def journal_called(self, process: Process, run: Run, machine: str) -> None:
        """Between the freeze and the thaw of a machine, nothing of its transaction waits for the journal."""
        group = run.job is not None and run.job.group
        for name in [target.machine.name for target in run.targets] if group else [machine]:
            window = self._windows.get(name)
            if window is not None and window.process is process and window.run.id == run.id and not window.refused:
                self.check(window.thaw_sent, f"{name}: the journal is written inside the window")

    def journal_written(self, before: Run | None, after: Run) -> None:
        """A write has landed: by the move table, appending, and with at most one open run for each machine."""
        process = self._scheduler.process
        if before is None:
            self.opened[self._scheduler.thread] = after.id
            self._asked[after.id] = -math.inf if process.forces else process.began
        else:
            self.check(after.steps[: len(before.steps)] == before.steps, f"{after.id}: a step was changed")
            new = after.steps[len(before.steps) :]
            known = set(map(id, before.steps))
            self.check(not any(id(step) in known for step in new), f"{after.id}: a step stands twice")
            for target in before.targets:
                self._moved(after, target, after.target(target.machine.name))
        held = [target.machine.name for run in self._journal.open_runs() for target in _open_targets(run)]
        self.check(len(held) == len(set(held)), "two open runs on one machine")

    def _moved(self, run: Run, before: Target, after: Target) -> None:
        """A target stands in the journal as it did, or moved by the table; and none is closed on a guest it froze."""
        allowed = after.state is before.state or (before.state, after.state) in states.MOVES
        self.check(allowed, f"{run.id}: moved from {before.state} to {after.state}")
        if before.state in states.OPEN and after.state not in states.OPEN:
            name = after.machine.name
            self.check(not self.guests[name].held_by(run.id), f"{name}: {after.state}, and frozen by us")
            forgotten = run.id in self.guests[name].fuses and (run.id, name) not in self._put_out
            self.check(not forgotten, f"{name}: {after.state}, and nobody has tried to put out its fuse")

    def _find_open(self, machine: str) -> tuple[Run, Target] | None:
        for run in self._journal.open_runs():
            for target in _open_targets(run):
                if target.machine.name == machine:
                    return run, target
        return None


def _open_targets(run: Run) -> Sequence[Target]:
    return [target for target in run.targets if target.state in states.OPEN]


def _intended(run: Run, machine: str, action: Action) -> bool:
    return any(s.action is action and s.outcome is Outcome.INTENT and s.machine == machine for s in run.steps)
