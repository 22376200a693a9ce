"""Did the guest's freeze hooks bring its applications to rest for this freeze? By the report that our hook leaves.

`config/fsfreeze-hook` writes one line into the guest's memory: the number of the freeze since the guest's boot, how
many scripts it ran, and how far it came. It is read before the freeze and after the thaw. When the number is just one
more, the line is about our freeze and no other; `thawed` says that every script froze, and said at its thaw that it had
held until then. That much is proven; what a script does to its application, its author declares.
docs/decisions/0015-application-consistency.md.
"""

import re
from dataclasses import dataclass

from orchestrator.clock import Deadline
from orchestrator.errors import Rejected
from orchestrator.model import Action
from orchestrator.ports import Agent
from orchestrator.recorder import Recorder

#: Where the hook leaves its report, in the guest.
REPORT = "/run/quiesce-fsfreeze/report"
#: What the agent must allow to read it.
NEEDED = frozenset({"guest-file-open", "guest-file-read", "guest-file-close"})
_LONGEST = 256
_LINE = re.compile(rb"([0-9]{1,9}) ([0-9]{1,4}) (frozen|thawed|lost|failed)\n")


@dataclass(frozen=True)
class Report:
    """What the hook said of the last freeze. Without a report: of none."""

    serial: int = 0
    scripts: int = 0
    state: str = ""


def read(agent: Agent, deadline: Deadline) -> Report:
    """The report as it stands. A guest without our hook, or one that has not frozen yet, has an empty one.

    Raises CallError when that cannot be told.
    """
    try:
        text = agent.read_file(REPORT, _LONGEST, deadline)
    except Rejected:  # there is no such file
        return Report()
    found = _LINE.fullmatch(text)
    return Report() if found is None else Report(int(found[1]), int(found[2]), found[3].decode())


def look_after(agent: Agent, before: Report, recorder: Recorder, deadline: Deadline) -> None:
    """Write down, after the thaw, whether the hooks ran for this freeze; nothing where none has run.

    Raises CallError when that cannot be told, or they did not all hold.
    """
    after = read(agent, deadline)
    if after == before:
        return
    with recorder.act(Action.ASK, hooks=after.scripts, state=after.state) as figures:
        if after.serial != before.serial + 1:
            raise Rejected(f"the freeze hook speaks of its freeze {after.serial}, and ours was {before.serial + 1}")
        if after.state != "thawed":
            raise Rejected("not every script of the freeze hook held its application until the thaw")
        figures["hooks_ran"] = after.scripts > 0
