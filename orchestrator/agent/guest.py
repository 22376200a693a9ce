"""The agent of one machine, as the rest of the product sees it: `ports.Agent` over any channel."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from orchestrator.acts import Question
from orchestrator.agent import replies
from orchestrator.agent.channel import Channel
from orchestrator.agent.questions import QUESTIONS
from orchestrator.agent.wire import Json
from orchestrator.clock import Deadline
from orchestrator.errors import CallError, OutcomeUnknown
from orchestrator.model import AgentInfo, ExecResult, Filesystem, FreezeStatus, OsInfo, Way
from orchestrator.ports import Agent

#: Seconds between two questions whether a program in the guest has ended.
POLL = 0.1


class GuestAgent:
    """`ports.Agent`: one method per command, and nothing of the guest's passes that does not fit its command.

    Every method raises what `Channel.call` does. A reply that does not fit is OutcomeUnknown also for a mere
    question: nothing was learnt from it.
    """

    def __init__(self, channel: Channel, other: Agent | None = None) -> None:
        self._channel = channel
        self.other = other

    @property
    def way(self) -> Way:
        """See `ports.Agent`."""
        return self._channel.way

    @property
    def linger(self) -> float:
        """See `ports.Agent`."""
        return self._channel.linger

    def sync(self, deadline: Deadline) -> None:
        """Prove that the agent answers now, and discard every stale reply. Raises Unreachable."""
        self._channel.sync(deadline)

    def ping(self, deadline: Deadline) -> None:
        """`guest-ping`: the agent answers."""
        self._channel.call("guest-ping", {}, replies.nothing, deadline)

    def info(self, deadline: Deadline) -> AgentInfo:
        """`guest-info`: version and enabled commands."""
        return self._channel.call("guest-info", {}, replies.info, deadline)

    def osinfo(self, deadline: Deadline) -> OsInfo:
        """`guest-get-osinfo`. Raises CommandDisabled on an agent older than 2.10."""
        return self._channel.call("guest-get-osinfo", {}, replies.osinfo, deadline)

    def fsinfo(self, deadline: Deadline) -> tuple[Filesystem, ...]:
        """`guest-get-fsinfo`: at most `replies.MAX_FILESYSTEMS` of them. Raises CommandDisabled while frozen."""
        return self._channel.call("guest-get-fsinfo", {}, replies.filesystems, deadline)

    def freeze_status(self, deadline: Deadline) -> FreezeStatus:
        """`guest-fsfreeze-status`: the agent's belief, which is not the kernel's state."""
        return self._channel.call("guest-fsfreeze-status", {}, replies.freeze_status, deadline)

    def freeze(self, mountpoints: Sequence[str], deadline: Deadline) -> int:
        """Freeze all file systems, or those at `mountpoints`; return how many were frozen.

        Sent once. After OutcomeUnknown the guest may be frozen, or become so later. CommandDisabled: it was not
        carried out, because the agent forbids it or is in its frozen state already.
        """
        if mountpoints:
            arguments = {"mountpoints": list(mountpoints)}
            return self._channel.call("guest-fsfreeze-freeze-list", arguments, replies.count, deadline)
        return self._channel.call("guest-fsfreeze-freeze", {}, replies.count, deadline)

    def thaw(self, deadline: Deadline) -> int:
        """`guest-fsfreeze-thaw`: return how many file systems were still frozen; 0 on a thawed guest."""
        return self._channel.call("guest-fsfreeze-thaw", {}, replies.count, deadline)

    def start(self, path: str, arguments: Sequence[str], deadline: Deadline) -> int:
        """`guest-exec`: start a program in the guest, and return the number by which `ended` asks for it.

        Sent once. After OutcomeUnknown it may run.
        """
        command = {"path": path, "arg": list(arguments), "capture-output": True}
        return self._channel.call("guest-exec", command, replies.process, deadline)

    def ended(self, process: int, deadline: Deadline) -> ExecResult | None:
        """`guest-exec-status`: how that program ended, or None while it runs. The agent tells it once only.

        At most `replies.MAX_OUTPUT` bytes of each output stream are taken; more of it is OutcomeUnknown.
        """
        return self._channel.call("guest-exec-status", {"pid": process}, replies.ended, deadline)

    def execute(self, path: str, arguments: Sequence[str], deadline: Deadline) -> ExecResult:
        """Run a program in the guest and wait for its end: `start`, and `ended` again and again.

        When `deadline` passes, OutcomeUnknown is raised and the program goes on.
        """
        process = self.start(path, arguments, deadline)
        try:
            while (result := self.ended(process, deadline)) is None:
                deadline.clock.sleep(min(POLL, deadline.remaining()))
        except CallError as error:
            raise OutcomeUnknown(f"{path} was started, and how it ended is not known: {error}") from error
        return result

    def read_file(self, path: str, limit: int, deadline: Deadline) -> bytes:
        """The first `limit` bytes of a file of the guest (`guest-file-open`, `-read`, `-close`).

        Raises Rejected when there is no such file, or it cannot be read.
        """
        handle = self._channel.call("guest-file-open", {"path": path, "mode": "r"}, replies.handle, deadline)
        try:
            read = {"handle": handle, "count": limit}
            return self._channel.call("guest-file-read", read, replies.content, deadline)[:limit]
        finally:
            with suppress(CallError):
                self._channel.call("guest-file-close", {"handle": handle}, replies.nothing, deadline)

    def ask(self, question: Question, deadline: Deadline) -> Json:
        """The answer to an operator's question, with the members that `questions` reads."""
        command, read = QUESTIONS[question]
        return self._channel.call(command, {}, read, deadline)

    def command(self, name: str, arguments: Mapping[str, Json], deadline: Deadline) -> Json:
        """Send any command once, and return what it returned."""
        return self._channel.call(name, arguments, lambda value: value, deadline)

    def reset(self) -> None:
        """Drop the connection, and that of the second way. The next call connects anew. Never raises."""
        self._channel.reset()
        if self.other is not None:
            self.other.reset()

    def close(self) -> None:
        """Drop both for good. Never raises."""
        self._channel.close()
        if self.other is not None:
            self.other.close()
