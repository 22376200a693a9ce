"""The laws about how everything ends, asked when the last recovery has been let live."""

from orchestrator import states
from orchestrator.evidence import outcome_of
from orchestrator.model import Action, Consistency, Outcome, Quiesce, Run, State, Target
from orchestrator.policy import exit_code
from tests.simulation.guest import Guest
from tests.simulation.laws import Laws
from tests.simulation.storage import Storage


def check_answer(laws: Laws, run: Run, guests: dict[str, Guest], storages: dict[str, Storage]) -> None:
    """What `run` answered, and so the exit code, is true at the moment of the answer."""
    code = exit_code(run)
    laws.check(run.finished_at is not None or code == 3, f"{run.id}: answered before it ended")
    for target in run.targets:
        name = target.machine.name
        if target.state is not State.STUCK:
            laws.check(not guests[name].held_by(run.id), f"{name}: exit code {code} while the guest is frozen by us")
        if code in {0, 4}:
            laws.check(run.snapshot_name in storages[name].cuts, f"{name}: exit code {code} without a cut")
        if code == 0 and run.job is not None and run.job.quiesce is not Quiesce.OFF:
            laws.check(storages[name].cuts[run.snapshot_name].quiesced, f"{name}: exit code 0 without the quiesce")


def check_run(laws: Laws, run: Run, guests: dict[str, Guest], storages: dict[str, Storage]) -> None:
    """One run, at the end of the history."""
    for target in run.targets:
        guest = guests[target.machine.name]
        if target.state in states.OPEN:
            lost = target.state is State.STUCK and not guest.runs
            laws.check(lost, f"{guest.name}: {target.state} for ever in run {run.id}, though its agent answers")
            continue
        laws.check(not guest.held_by(run.id), f"{guest.name}: frozen by run {run.id}, which is {target.state}")
        _check_outcomes(laws, run, target)
        _check_cut(laws, run, target, storages[guest.name])


def _check_outcomes(laws: Laws, run: Run, target: Target) -> None:
    """Every intent has its outcome."""
    last = {step.action: step.outcome for step in run.steps_of(target.machine.name)}
    dangling = [action for action, outcome in last.items() if outcome is Outcome.INTENT]
    laws.check(not dangling, f"{run.id}: no outcome of {', '.join(dangling)} on {target.machine.name}")


def _check_cut(laws: Laws, run: Run, target: Target, storage: Storage) -> None:
    """The history's cut is the storage's, or the history says that it does not know."""
    name, steps = run.snapshot_name, run.steps_of(target.machine.name)
    open_questions = [
        step
        for action in (Action.VERIFY, Action.DISCARD)
        if (step := outcome_of(steps, action)) is not None and step.outcome is not Outcome.DONE
    ]
    cut = storage.cuts.get(name)
    if target.snapshot is not None or not open_questions:
        truth, told = cut is not None, target.snapshot is not None
        laws.check(truth == told, f"{name}: the history says {told}, the storage {truth}, of a cut on {storage.name}")
    if name in storage.prepared or name in storage.copies:
        laws.check(bool(open_questions), f"{name}: left behind on {storage.name}, and the history does not say so")
    if target.consistency in {Consistency.APPLICATION, Consistency.FILESYSTEM}:
        laws.check(cut is not None and cut.quiesced, f"{name}: called {target.consistency}, and was not")
    if target.state is State.DONE and run.job is not None and run.job.quiesce is Quiesce.REQUIRED:
        laws.check(target.consistency is Consistency.FILESYSTEM, f"{name}: done without the quiesce that it requires")
