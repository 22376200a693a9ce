"""How many machines are worked on at once: overall, on each hypervisor, and of each job. Waiting is in order.

Whoever waits keeps those behind from taking what it waits for, so that a large group gets its turn; it keeps nobody
from what it does not want. Of one process: others are not counted.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from orchestrator.clock import Clock, Deadline, Stop
from orchestrator.model import Job, Machine

#: What is limited: everything, a hypervisor by its URI, or a job by its name.
Limited = tuple[str, str]

OVERALL: Limited = ("overall", "")


class Slots:
    """The limits of one process."""

    def __init__(self, clock: Clock, overall: int | None = None, hypervisors: Mapping[str, int] | None = None) -> None:
        """`overall` and `hypervisors`, by URI, say how many machines at once; what is not named has no limit."""
        self._clock = clock
        self._limits = _limits(overall, hypervisors or {})
        self._lock = threading.Lock()
        self._taken: Counter[Limited] = Counter()
        self._waiting: list[_Wish] = []

    def allow(self, overall: int | None, hypervisors: Mapping[str, int]) -> None:
        """Let other limits hold, for all who ask from now on."""
        self._limits = _limits(overall, hypervisors)

    @contextmanager
    def taking(self, job: Job, machines: Sequence[Machine], stop: Stop) -> Iterator[None]:
        """Within the `with`, these machines of the job are counted; it begins when they may be worked on.

        More machines than a limit allows are let in alone. When `stop` is requested, it begins at once: who ends needs
        no place.
        """
        wish = _Wish(job, machines, self._limits)
        with self._lock:
            self._waiting.append(wish)
            self._admit()
        try:
            with stop.calling(wish.admitted.set):
                while not self._clock.wait(wish.admitted, Deadline.after(self._clock, 3600)):
                    pass
            yield
        finally:
            with self._lock:
                if wish in self._waiting:
                    self._waiting.remove(wish)
                else:
                    self._taken -= wish.wants
                self._admit()

    def _admit(self) -> None:
        """Let in all that can come. The lock is held."""
        claimed: Counter[Limited] = Counter()
        for wish in list(self._waiting):
            if all(self._fits(limited, wish, claimed) for limited in wish.limits):
                self._waiting.remove(wish)
                self._taken += wish.wants
                wish.admitted.set()
            else:
                claimed += wish.wants

    def _fits(self, limited: Limited, wish: "_Wish", claimed: Counter[Limited]) -> bool:
        used = self._taken[limited] + claimed[limited]
        return not used or used + wish.wants[limited] <= wish.limits[limited]


def _limits(overall: int | None, hypervisors: Mapping[str, int]) -> Mapping[Limited, int]:
    of_hypervisors: dict[Limited, int] = {("hypervisor", uri): limit for uri, limit in hypervisors.items()}
    return of_hypervisors if overall is None else {**of_hypervisors, OVERALL: overall}


class _Wish:
    """Some machines that somebody wants to work on."""

    def __init__(self, job: Job, machines: Sequence[Machine], limits: Mapping[Limited, int]) -> None:
        of_job: Limited = ("job", job.name)
        self.wants: Counter[Limited] = Counter({OVERALL: len(machines), of_job: len(machines)})
        self.wants.update(("hypervisor", machine.hypervisor) for machine in machines if machine.hypervisor is not None)
        known = limits if job.max_parallel is None else {**limits, of_job: job.max_parallel}
        self.limits = {limited: limit for limited, limit in known.items() if self.wants[limited]}
        self.admitted = threading.Event()
