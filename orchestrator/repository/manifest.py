"""A backup's manifest as JSON text, with a sum of its own: what a failing disk has changed is not believed."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from orchestrator.errors import RepositoryError
from orchestrator.model import Backup, Consistency, OsInfo, Proof, StoredDisk

NAME = "manifest.json"
#: The version of the manifest and of the layout around it. A program refuses those that it does not know.
FORMAT = 1
#: More than any manifest has: libvirt sends no domain definition of more than 4 MiB (VIR_NET_MESSAGE_STRING_MAX).
LARGEST = 16 * 1024 * 1024


def written(backup: Backup) -> bytes:
    """The manifest of a backup."""
    document = {
        "format": FORMAT,
        **asdict(backup),
        "cut_at": backup.cut_at.astimezone(UTC).isoformat(),
        "disks": [{**asdict(disk), "file": disk.file} for disk in backup.disks],
    }
    return _text({**document, "manifest_sha256": _sum(document)})


def read(content: bytes) -> Backup:
    """The backup that a manifest describes. Raises RepositoryError, which says what is wrong with it."""
    try:
        document = json.loads(content)
        found = document.pop("manifest_sha256", None)
        if document["format"] != FORMAT:
            raise RepositoryError(f"it has format {document['format']!r}, and this program knows {FORMAT} only")
        if found != _sum(document):
            raise RepositoryError("it is not what was written: its sum is wrong")
        return _backup(document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RepositoryError(f"it is no manifest: {error}") from error


def _backup(document: Mapping[str, Any]) -> Backup:
    disks = [{key: value for key, value in disk.items() if key != "file"} for disk in document["disks"]]
    guest_os = document["guest_os"]
    fields = {
        "cut_at": datetime.fromisoformat(document["cut_at"]),
        "consistency": Consistency(document["consistency"]),
        "proof": Proof(**{**document["proof"], "mountpoints": tuple(document["proof"]["mountpoints"])}),
        "disks": tuple(StoredDisk(**disk) for disk in disks),
        "guest_os": None if guest_os is None else OsInfo(**guest_os),
    }
    return Backup(**{key: value for key, value in document.items() if key != "format"} | fields)


def _sum(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(_text(document)).hexdigest()


def _text(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()
