"""Which moves between states there are. The journal lets no other happen."""

from collections.abc import Iterable

from orchestrator.model import Machine, Run, State, Target

#: Every permitted move of a target, with what it means.
MOVES: frozenset[tuple[State, State]] = frozenset(
    {
        (
            State.PENDING,
            State.RUNNING,
        ),  # the intents to freeze and to cut are committed
        (
            State.PENDING,
            State.FAILED,
        ),  # preparation or pre-flight failed; the guest is untouched
        (State.PENDING, State.REFUSED),  # somebody else holds the machine
        (State.PENDING, State.CANCELLED),  # ended by its user before the freeze
        (State.PENDING, State.RECOVERED),  # its process died before the freeze
        (
            State.RUNNING,
            State.DONE,
        ),  # cut at the wanted consistency, or at a lower one that the job allows
        (State.RUNNING, State.FAILED),  # thawed, and not what was asked
        (
            State.RUNNING,
            State.REFUSED,
        ),  # frozen by somebody else between the pre-flight and our freeze
        (
            State.RUNNING,
            State.CANCELLED,
        ),  # ended by its user inside the window, and thawed
        (State.RUNNING, State.RECOVERED),  # its process died; thawed by recovery
        (State.RUNNING, State.STUCK),  # the thaw could not be confirmed
        (State.STUCK, State.RECOVERED),  # a later thaw was confirmed, or an operator gave their word: no other way out
    }
)

#: States in which a target keeps its machine: at most one such target per machine, over all processes and nodes.
OPEN: frozenset[State] = frozenset({State.PENDING, State.RUNNING, State.STUCK})

#: From the state that must be seen first to the best one.
_WORST_FIRST = (
    State.STUCK,
    State.RUNNING,
    State.PENDING,
    State.FAILED,
    State.RECOVERED,
    State.REFUSED,
    State.CANCELLED,
    State.DONE,
)


def held_by(run: Run, machine: Machine, host: str) -> Target | None:
    """The target by which a run keeps a guest, None when it does not.

    A run of the same `host` may know the guest by another name, from before a change of the configuration.
    """
    for target in run.targets:
        known = target.machine.name == machine.name or (run.owner.host == host and target.machine.shares_way(machine))
        if known and target.state in OPEN:
            return target
    return None


def sources(state: State) -> frozenset[State]:
    """The states from which a target may move to `state`."""
    return frozenset(before for before, after in MOVES if after is state)


def worst(states: Iterable[State]) -> State:
    """The state of a run whose targets have `states`. Raises ValueError when there are none."""
    return min(states, key=_WORST_FIRST.index)
