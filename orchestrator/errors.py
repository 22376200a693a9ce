"""Every error that the product raises on purpose, by what the caller must do about it.

::

    QuiesceError
     +-- ConfigError            the configuration or the command line is wrong; nothing was touched
     +-- NotFound               no such run, job or machine in this configuration or journal
     +-- Refused                somebody else holds the machine; it was not touched
     |    +-- MachineBusy       another run is open on it
     |    +-- FrozenByOther     its file systems were frozen by somebody else
     |    +-- MachineHeld       it is paused or migrating
     +-- JournalError
     |    +-- JournalUnavailable  the database cannot be reached or written now
     |    |    +-- StuckUnjournaled  and a guest may still be frozen
     |    +-- AlreadyRun          a job's run for that scheduled time is there already
 |    +-- JournalMismatch     the database belongs to a newer program, or is not ours
     |    |    +-- JournalOutdated  it belongs to an older one, and waits for its upgrade
     |    +-- Superseded          a guarded move did not land: the run is no longer ours
     +-- CallError              one call to a guest, hypervisor or driver did not succeed
          +-- Unreachable       nothing was sent: no effect
          |    +-- NoGuard      no freeze was sent, because nobody would thaw if this process died
          +-- Rejected          the other side answered with an error
          |    +-- CommandDisabled  it does not know the command, or not now: it was not carried out
          |    +-- RepositoryError  a repository cannot be read or written; the backups in it are as they were
          |    |    +-- Untrusted    a backup is there, and is not what it should be
          |    |    +-- RepositoryAway  it is not there: most likely its file system is not mounted
          +-- OutcomeUnknown    sent, and no trustworthy answer came: it may or may not have taken effect

A caller that needs to know *whether something happened* catches the three kinds of `CallError`; that
distinction is the reason why they exist. The message says what happened; `advice` says what to do next.
"""

from collections.abc import Iterable
from typing import ClassVar, Self


class QuiesceError(Exception):
    """Something went wrong that the user can be told about in one sentence."""

    #: What the user can do next, as a full sentence. Empty when the message already says it.
    advice: ClassVar[str] = ""


class ConfigError(QuiesceError):
    """The configuration or the command line cannot be used. Nothing was touched."""


class NotFound(QuiesceError):
    """There is no run, job or machine by this name."""

    @classmethod
    def in_configuration(cls, kind: str, name: str, known: Iterable[str]) -> Self:
        """The error for a name of that kind which the configuration does not have; it has the `known` ones."""
        return cls(f"there is no {kind} {name!r}; the configuration has: {', '.join(known) or 'none'}")


class Refused(QuiesceError):
    """Somebody else holds the machine. It was not touched."""


class MachineBusy(Refused):
    """Another run is open on this machine."""

    advice = "Wait for that run to end, or look at it with `quiesce show RUN`."


class FrozenByOther(Refused):
    """The guest's file systems were frozen before this run began, and the journal knows no owner."""

    advice = "Find out who froze it. If nobody needs it frozen: `quiesce thaw MACHINE --force`."


class MachineHeld(Refused):
    """The machine is paused or migrating."""

    advice = "Try again when the machine runs."


class JournalError(QuiesceError):
    """The journal cannot do what was asked."""


class JournalUnavailable(JournalError):
    """The journal's database cannot be reached or written."""

    advice = (
        "Check `[journal] url`, who may write the database, and the free space on its disk; then run `quiesce recover`."
    )


class StuckUnjournaled(JournalUnavailable):
    """A thaw could not be confirmed, and the journal could not be told."""

    advice = "The guest MAY STILL BE FROZEN. Bring the journal back and run `quiesce recover`."


class AlreadyRun(JournalError):
    """The journal has the job's run for this scheduled time already: it is run once, by whoever comes first."""


class JournalMismatch(JournalError):
    """The journal's database has a schema that this program does not know."""

    advice = "Use the program version that wrote it, or a newer one; if no quiesce wrote it, correct `[journal] url`."


class JournalOutdated(JournalMismatch):
    """The journal's database has the schema of an older program."""

    advice = "Stop the service, copy the database, and run `quiesce db upgrade`."


class Superseded(JournalError):
    """A guarded move did not land: the run was closed or taken over by another process."""

    advice = "Look at the run with `quiesce show RUN`: another process settled it."


class CallError(QuiesceError):
    """A call to a guest, a hypervisor or a driver did not succeed."""


class Unreachable(CallError):
    """The other side could not be reached. Nothing was sent, so nothing changed."""


class NoGuard(Unreachable):
    """The guard cannot be armed for a machine. No guard, no freeze."""

    advice = "Put it right, and run the job again: no guest is frozen without a guard."


class Rejected(CallError):
    """The other side answered, and the answer was an error."""


class CommandDisabled(Rejected):
    """The other side does not know this command, or does not allow it now. It was not carried out."""


class RepositoryError(Rejected):
    """A repository of backups cannot be read or written. No backup became visible, and none was harmed."""

    advice = "Check the repository's free space and permissions. Earlier backups are as they were."


class Untrusted(RepositoryError):
    """A backup was examined and is not what it should be. It is still there."""

    advice = "Do not rely on this backup: look at an earlier one, and at what made this one so."


class RepositoryAway(RepositoryError):
    """The repository's folder does not carry its mark: most likely its file system is not mounted."""

    advice = "Mount the repository's file system and try again. Nothing was written."


class OutcomeUnknown(CallError):
    """The call was sent and no trustworthy answer came. Whether it took effect must be asked, not assumed."""
