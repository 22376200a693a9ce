"""libvirt's XML of backups and checkpoints (libvirt.org/formatbackup, libvirt.org/formatcheckpoint).

Every disk of the domain is named: libvirt would choose for one that is not.
"""

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from orchestrator.errors import Rejected
from orchestrator.hypervisor.domain_xml import disks
from orchestrator.model import Disk, DiskCopy


def backup_xml(since: str | None, copies: Sequence[DiskCopy], domain_xml: str) -> str:
    """The backup that writes all disks to their files, or what has changed since a checkpoint.

    Raises Rejected when the domain's disks are not those of the copies any more.
    """
    files, found = {copy.disk.name: copy.path for copy in copies}, dict(disks(domain_xml))
    if missing := files.keys() - found.keys():
        raise Rejected(f"the disk {', '.join(sorted(missing))} was removed after the backup was planned")
    backup = ET.Element("domainbackup", mode="push")
    if since is not None:
        ET.SubElement(backup, "incremental").text = since
    listed = ET.SubElement(backup, "disks")
    for target, is_written in found.items():
        if target in files:
            disk = ET.SubElement(listed, "disk", name=target, type="file")
            ET.SubElement(disk, "driver", type="qcow2")
            ET.SubElement(disk, "target", file=files[target])
        elif is_written:
            raise Rejected(f"the disk {target} was added after the backup was planned")
        else:
            ET.SubElement(listed, "disk", name=target, backup="no")
    return ET.tostring(backup, encoding="unicode")


def checkpoint_xml(name: str, noted: Sequence[Disk], domain_xml: str) -> str:
    """A checkpoint of these disks, as libvirt makes or is told of it. Its bitmaps have its name."""
    names = {disk.name for disk in noted}
    checkpoint = ET.Element("domaincheckpoint")
    ET.SubElement(checkpoint, "name").text = name
    ET.SubElement(checkpoint, "creationTime").text = "0"  # libvirt wants one of a checkpoint that it is told of
    listed = ET.SubElement(checkpoint, "disks")
    for target, _ in disks(domain_xml):
        if target in names:
            ET.SubElement(listed, "disk", name=target, checkpoint="bitmap", bitmap=name)
        else:
            ET.SubElement(listed, "disk", name=target, checkpoint="no")
    return ET.tostring(checkpoint, encoding="unicode")


def targets(backup: str) -> frozenset[str]:
    """The files that a backup job writes."""
    found = ET.fromstring(backup).iterfind("disks/disk/target")  # noqa: S314 - libvirtd wrote it, which we trust with more
    return frozenset(target.get("file", "") for target in found)
