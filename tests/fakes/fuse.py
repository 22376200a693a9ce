"""The fuses in a fake guest: what `orchestrator/fuse/guest.sh` does in a real one, without the time that passes."""

from collections.abc import Sequence

from orchestrator.model import ExecResult
from tests.fakes.agent import FakeAgent

_SHELL = "/bin/sh"


class Fuses:
    """The fuses that are lit in a guest. It takes the place of the guest's shell."""

    def __init__(self, guest: FakeAgent) -> None:
        self._guest = guest
        #: The seconds after which each fuse burns, by the run that lit it.
        self.lit: dict[str, int] = {}
        #: What was frozen when a fuse was lit, or put out.
        self.frozen_meanwhile: list[str] = []
        guest.programs[_SHELL] = self._shell

    def burn(self) -> None:
        """The time of all fuses has come."""
        assert self.lit
        self.lit.clear()
        self._guest.frozen.clear()

    def _shell(self, arguments: Sequence[str]) -> ExecResult:
        self.frozen_meanwhile += self._guest.frozen
        _, _, name, word, run, *rest = arguments
        if word == "light":
            assert name == f"quiesce-fuse-light-{run}"
            self.lit = {run: int(rest[0])}
            return ExecResult(0, b"", b"")
        found = self.lit.pop(run, None) is not None
        return ExecResult(0, b"%d\n" % found, b"")
