"""Who is told what becomes of runs."""

from collections.abc import Callable, Sequence

from orchestrator.model import Run, Step, Target

#: Is told of what the journal has taken: the run, the target as it was moved, or None when none was, and the new
#: steps. It waits for nobody and never raises. The run is as its writer knew it: without the steps of its own process.
Witness = Callable[[Run, Target | None, Sequence[Step]], None]
