"""`quiesce agent MACHINE ...`: what an operator has a guest's agent do."""

from collections.abc import Callable
from typing import Annotated

import typer

from orchestrator.acts import Question
from orchestrator.cli import names
from orchestrator.cli.session import Json, duration, session
from orchestrator.model import ExecResult

_HELP = {
    Question.PING: "Say whether the agent answers; also while the guest is frozen.",
    Question.INFO: "Show the agent's version and commands; also while the guest is frozen.",
    Question.OSINFO: "Show the guest's operating system.",
    Question.FSINFO: "List the guest's file systems and the disks that they are on.",
    Question.USERS: "List who is logged in.",
    Question.TIME: "Show the guest's clock.",
    Question.HOSTNAME: "Show the guest's name for itself.",
    Question.INTERFACES: "List the guest's network interfaces and their addresses.",
}
_WARNING = "quiesce: warning: a raw command may change the guest behind the hypervisor's back"

#: Where the machine is kept that the group's argument named.
_MACHINE = "quiesce.machine"


def make_agent() -> typer.Typer:
    """The commands below `quiesce agent MACHINE`."""
    app = typer.Typer(
        help="Ask a machine's agent, or run something by it.", no_args_is_help=True, rich_markup_mode=None
    )

    @app.callback()
    def choose(
        context: typer.Context,
        machine: Annotated[str, typer.Argument(help="Which machine.", autocompletion=names.machines)],
    ) -> None:
        context.meta[_MACHINE] = machine

    for question, text in _HELP.items():
        app.command(question.value, help=text)(_asking(question))
    app.command()(trim)
    app.command("exec", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})(execute)
    app.command()(raw)
    return app


def _asking(question: Question) -> Callable[..., None]:
    def ask(context: typer.Context, json: Json = False) -> None:
        with session(context, as_json=json) as here:
            here.output.answer(here.operating().asking.ask(context.meta[_MACHINE], question))

    return ask


def trim(context: typer.Context, json: Json = False) -> None:
    """Let the guest give the space of deleted files back to the host."""
    with session(context, as_json=json) as here:
        asking = here.operating().asking
        run, answer = here.work(lambda observer, stop: asking.trim(context.meta[_MACHINE]))
        if answer is None:
            here.ended(run)
        else:
            here.output.answer(answer)


def execute(
    context: typer.Context,
    words: Annotated[
        list[str], typer.Argument(metavar="-- PROGRAM [ARGUMENT]...", help="The program, by its full path.")
    ],
    timeout: Annotated[
        float, typer.Option(parser=duration, metavar="DURATION", help="Kill it after this time.")
    ] = 60.0,
    json: Json = False,
) -> None:
    """Run a program in the guest, without a shell, and exit with its exit code.

    Its output comes when it has ended: the agent hands it out no sooner, and at most 1 MiB of each stream is taken.
    When it could not be run, the exit code is 1, or 5 when the machine is held, and standard error says why.
    """
    with session(context, as_json=json) as here:
        asking, machine = here.operating().asking, context.meta[_MACHINE]
        run, result = here.work(lambda observer, stop: asking.execute(machine, words, timeout, stop=stop))
        if result is None:
            here.ended(run)
            return
        here.output.executed(run, result)
        if not json:
            here.pass_on_error(result.error_output)
        here.exit_code = _exit_code(result)
        if result.exit_code is None:
            here.tell([f"quiesce: {words[0]} was ended by a signal in the guest"])


def raw(
    context: typer.Context,
    request: Annotated[
        str,
        typer.Argument(
            metavar='\'{"execute": "COMMAND", "arguments": {...}}\'',
            help="The command, as the agent's protocol has it.",
        ),
    ],
    json: Json = False,
) -> None:
    """Send any command to the agent. Those that freeze, thaw or power the guest have commands of their own."""
    with session(context, as_json=json) as here:
        here.tell([_WARNING])
        asking = here.operating().asking
        run, answer = here.work(lambda observer, stop: asking.raw(context.meta[_MACHINE], request))
        if answer is None:
            here.ended(run)
        else:
            here.output.answer(answer)


def _exit_code(result: ExecResult) -> int:
    """The program's own, as far as a process of ours can have it: never 0 for another one."""
    if result.exit_code is None:
        return 1
    return result.exit_code & 0xFF or int(result.exit_code != 0)
