"""The names that we give to QEMU's block nodes and jobs."""

import hashlib

from orchestrator.model import NAME_PREFIX


def node_name(path: str) -> str:
    """The node of a file: the same in every process, and within QEMU's limit of 31 characters."""
    return NAME_PREFIX + hashlib.sha256(path.encode()).hexdigest()[:16]
