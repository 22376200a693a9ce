"""The agent itself: questions, a program in the guest, and any command at all."""

from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import Any

from orchestrator.acts import Answer, Question
from orchestrator.clock import Deadline, Stop
from orchestrator.errors import CallError, OutcomeUnknown
from orchestrator.model import Action, ExecResult, Run
from orchestrator.operating import raw
from orchestrator.operating.entries import Entries, Figures
from orchestrator.operating.seams import Connections, OperatorAgent

#: Seconds for an answer; a trim takes as long as the disk does.
_ANSWER, _TRIM = 10.0, 600.0
#: Seconds between two questions whether a program has ended, and for it to be killed.
_POLL, _KILL = 0.1, 10.0


class Asking:
    """What an operator has the agent do."""

    def __init__(self, entries: Entries, connections: Connections) -> None:
        self._entries, self._connections, self._clock = entries, connections, entries.clock

    def ask(self, machine: str, question: Question) -> Answer:
        """The agent's answer to a question that changes nothing.

        Raises NotFound, MachineBusy, CallError and JournalError.
        """
        spec = self._entries.machine(machine)
        self._entries.check_agent_is_free(spec)
        with closing(self._connections.agent(spec)) as agent:
            deadline = Deadline.after(self._clock, _ANSWER)
            what = {"question": question}
            run, value = self._entries.asked(spec, what, lambda: agent.ask(question, deadline))
            return Answer(machine, question, run, value)

    def trim(self, machine: str) -> tuple[Run, Answer | None]:
        """Let the guest give the space of deleted files back; the answer is None unless the run is done."""
        return self._change(
            machine,
            {"question": Question.TRIM},
            _TRIM,
            lambda agent, deadline: agent.ask(Question.TRIM, deadline),
        )

    def raw(self, machine: str, request: str) -> tuple[Run, Answer | None]:
        """Send any command but those that freeze, thaw or power the guest; the answer is None unless the run is done.

        Raises ConfigError for a request that is no command, or one of those.
        """
        command, arguments = raw.parse(request)
        return self._change(
            machine,
            {"command": command, "arguments": arguments},
            _ANSWER,
            lambda agent, deadline: agent.command(command, arguments, deadline),
        )

    def execute(
        self,
        machine: str,
        words: Sequence[str],
        limit: float,
        stop: Stop | None = None,
    ) -> tuple[Run, ExecResult | None]:
        """Run a program in the guest for at most `limit` seconds; its result is None unless the run is done.

        The agent hands out what a program wrote when it has ended. One that does not end in time, or before `stop` is
        requested, is killed, itself and not what it started.
        """
        spec = self._entries.machine(machine)
        ended: list[ExecResult] = []
        with closing(self._connections.agent(spec)) as agent:

            def work(figures: Figures) -> None:
                ended.append(self._run_program(agent, words, limit, stop or Stop()))
                figures["exit_code"] = ended[0].exit_code

            what = {"program": words[0], "arguments": list(words[1:])}
            longest = limit + _ANSWER + _KILL
            return self._entries.act(spec, Action.ASK, what, agent, work, longest), ended[0] if ended else None

    def _run_program(self, agent: OperatorAgent, words: Sequence[str], limit: float, stop: Stop) -> ExecResult:
        deadline = Deadline.after(self._clock, limit)
        process = agent.start(words[0], words[1:], deadline.within(_ANSWER))
        while not deadline.passed and not stop.requested:
            try:
                result = agent.ended(process, Deadline.after(self._clock, _ANSWER))
            except CallError as error:
                how = f"{words[0]} was started, and how it ended is not known: {error}"
                raise OutcomeUnknown(f"{how}; of each of its outputs, no more than 1 MiB can be taken") from error
            if result is not None:
                return result
            self._clock.sleep(min(_POLL, deadline.remaining()))
        why = "its user ended it" if stop.requested else f"it did not end within {limit:g} s"
        raise OutcomeUnknown(f"{words[0]} {self._kill(agent, process)}: {why}")

    def _kill(self, agent: OperatorAgent, process: int) -> str:
        deadline = Deadline.after(self._clock, _KILL)
        with suppress(CallError):
            if agent.execute("/bin/kill", ["-KILL", str(process)], deadline).exit_code == 0:
                return "was killed"
        return f"may go on in the guest, as process {process}"

    def _change(
        self, machine: str, what: Figures, limit: float, ask: Callable[[OperatorAgent, Deadline], Any]
    ) -> tuple[Run, Answer | None]:
        spec = self._entries.machine(machine)
        values: list[Any] = []
        with closing(self._connections.agent(spec)) as agent:

            def work(_: Figures) -> None:
                values.append(ask(agent, Deadline.after(self._clock, limit)))

            run = self._entries.act(spec, Action.ASK, what, agent, work, limit)
        name = str(what.get("question") or what["command"])
        return run, Answer(machine, name, run.id, values[0]) if values else None
