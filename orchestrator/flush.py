"""Write back the guest's dirty pages before the freeze, so that the freeze finds little to write."""

from collections.abc import Mapping
from typing import Any

from orchestrator.clock import Deadline
from orchestrator.errors import Rejected
from orchestrator.model import PreFlush
from orchestrator.ports import Agent


def write_back(agent: Agent, how: PreFlush, deadline: Deadline) -> Mapping[str, Any]:
    """Run the pre-flush in the guest and say what it did.

    Raises CommandDisabled when the agent does not allow `guest-exec`, and CallError when the flush did not end well.
    """
    result = agent.execute("/bin/sync", [], deadline)
    if result.exit_code != 0:
        raise Rejected(f"sync ended with {result.exit_code} in the guest")
    return {"how": how}
