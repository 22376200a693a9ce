"""How bad a history gets: which faults there are, and how often each strikes.

Every history leaves some kinds of fault out altogether. Where everything fails all the time, nothing comes far enough
to meet the interesting faults (swarm testing: Groce et al., ISSTA 2012).
"""

from enum import StrEnum, auto
from random import Random

from tests.simulation.scheduler import Process

#: Crossings of a process with one guest from its freeze to the answer, and to its verdict, about.
_FREEZE, _WINDOW = 4, 40


class Fault(StrEnum):
    """What can go wrong with one call, or beside it."""

    AGENT_UNREACHABLE = auto()  # nothing was sent
    AGENT_REJECTS = auto()  # the agent answers with an error, and did nothing
    REPLY_LOST = auto()  # done, and the client never hears of it
    LATE = auto()  # the command lies somewhere on its way, and lands within `linger` seconds
    SLOW = auto()  # the agent takes its time
    MUTE = auto()  # the agent stops after a freeze, and goes on later
    RESTART = auto()  # the agent is killed after a freeze, and comes back in its frozen state
    OTHER_HAND = auto()  # somebody thaws file systems after our freeze, past the agent
    DRIVER_UNREACHABLE = auto()
    DRIVER_REJECTS = auto()
    DRIVER_LOST = auto()  # done, and the answer is lost
    DRIVER_LATE = auto()  # the caller gives up, and it is done later
    DRIVER_HANGS = auto()  # one call into a C library that does not return for long
    JOURNAL_REFUSES = auto()  # away, before the write
    JOURNAL_LOST = auto()  # written, and the answer is lost
    JOURNAL_SLOW = auto()
    NO_GUARD = auto()  # no other process can be started


class Weather:
    """Decides whether a fault strikes now."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        usual = chance.choice([0.0, 0.01, 0.03, 0.1])
        self._rates = {fault: usual * chance.choice([0, 0, 1, 1, 3]) for fault in Fault}
        #: How often a process is doomed to die somewhere, and how often a doomed one hangs before.
        self.doom, self.hang = chance.choice([0.0, 0.3, 0.6]), chance.choice([0.0, 0.3, 0.6])
        #: How often it is in its window, where it hurts.
        self.doom_in_window = chance.choice([0.0, 0.3, 0.6])
        #: How often the journal goes away, as a whole, and a guest's agent for good.
        self.outages = chance.choice([0, 0, 1, 2])
        self.loss = chance.choice([0.0, 0.0, 0.1])
        #: How often strangers freeze a guest.
        self.strangers = chance.choice([0.0, 0.3])
        #: Whether the whole journal is away now.
        self.journal_is_away = False

    def freeze_sent(self, process: Process) -> None:
        """A window begins."""
        if self._chance.random() < self.doom_in_window:
            self.doomed(process, self._chance.choice([_FREEZE, _WINDOW]))

    def strikes(self, fault: Fault, times: float = 1) -> bool:
        """Whether it does, `times` as often as usual."""
        rate = self._rates[fault]
        return rate > 0 and self._chance.random() < rate * times

    def doomed(self, process: Process, within: int) -> None:
        """Let a process die, or hang and die, at one of its next crossings."""
        process.doom = process.crossings + self._chance.randint(1, within)
        if self._chance.random() < self.hang:
            process.agony = 60 * self._chance.random()

    def clear(self) -> None:
        """From now on nothing goes wrong."""
        self.doom_in_window = 0.0
        self._rates = dict.fromkeys(Fault, 0.0)
        self.journal_is_away = False
