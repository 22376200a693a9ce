"""The names in a repository's folder."""

import re

#: The file that makes a folder a repository.
MARK = "quiesce-repository.json"
#: A backup that is being put together is `.RUN.partial`, one that is being removed `.RUN.removing`.
PARTIAL = ".partial"
REMOVING = ".removing"
#: What mkfs puts into every new ext4.
LOST_AND_FOUND = "lost+found"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


def is_name(text: str) -> bool:
    """Whether a machine or a run may be called so: as the configuration has it, and never hidden or a path."""
    return text != MARK and _NAME.fullmatch(text) is not None


def unfinished(text: str) -> str | None:
    """The run that a folder's name says is being made or removed, or None."""
    for ending in (PARTIAL, REMOVING):
        run = text.removeprefix(".").removesuffix(ending)
        if text == f".{run}{ending}" and is_name(run):
            return run
    return None
