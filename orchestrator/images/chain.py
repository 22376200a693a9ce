"""The name by which QEMU opens a chain of images that do not name each other."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def name_of(chain: Sequence[Path]) -> str:
    """QEMU's name for qcow2 files, each of which stands on the one before it; the first stands on nothing.

    What an image's own header says of a backing file is not followed (docs/interop/qemu-qmp-ref: BlockdevOptionsQcow2).
    """
    below: dict[str, Any] | None = None
    for path in chain:
        below = {"driver": "qcow2", "file": {"driver": "file", "filename": str(path)}, "backing": below}
    return f"json:{json.dumps(below)}"


def part_of(raw: Path, offset: int, size: int) -> str:
    """QEMU's name for a part of a raw file, in bytes."""
    file = {"driver": "file", "filename": str(raw)}
    return f"json:{json.dumps({'driver': 'raw', 'offset': offset, 'size': size, 'file': file})}"
