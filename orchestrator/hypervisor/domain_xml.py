"""libvirt's XML: a domain's disks are read (libvirt.org/formatdomain), snapshots and backups are written."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import Rejected
from orchestrator.model import ImageFormat, Overlay, RestoredDisk

#: Device types that a snapshot leaves out: what they hold is not the machine's.
_MEDIA = ("cdrom", "floppy")
#: Devices by which a domain reaches more than its own disks, or is reached.
_OUTSIDE = ("interface", "hostdev", "redirdev", "filesystem", "graphics", "shmem", "smartcard", "vsock")
#: The channel by which libvirt reaches an agent.
_AGENT = "org.qemu.guest_agent.0"


@dataclass(frozen=True)
class Source:
    """A writable disk as the domain's definition names it."""

    target: str
    path: str
    format: str


def writable_disks(domain_xml: str) -> tuple[Source, ...]:
    """The disks that a snapshot must contain. Raises Rejected for one that no file-based overlay can be put on."""
    return tuple(_source(disk) for disk in _disks(domain_xml) if _is_written(disk))


def layers(domain_xml: str) -> frozenset[str]:
    """Every file that a disk stands on now: the top of its chain, what lies below it, and what it is copied to."""
    sources = (source for disk in _disks(domain_xml) for source in disk.iter("source"))
    return frozenset(source.get("file", "") for source in sources) - {""}


def chains(domain_xml: str) -> dict[str, tuple[str, ...]]:
    """For each writable disk, the files that it stands on now, the top first.

    Raises Rejected for a domain that does not run, which has no id: what lies below the top, it does not tell.
    """
    if ET.fromstring(domain_xml).get("id") is None:  # noqa: S314 - libvirtd wrote it
        raise Rejected("the domain is shut off: only one that runs tells what its disks stand on")
    return {_target(disk): tuple(_chain(disk)) for disk in _disks(domain_xml) if _is_written(disk)}


def is_live(domain_xml: str) -> bool:
    """Whether a definition is that of a running domain, which has a number."""
    return ET.fromstring(domain_xml).get("id") is not None  # noqa: S314 - libvirtd wrote it, which we trust with more


def is_ready(domain_xml: str, target: str) -> bool:
    """Whether the job that merges a disk's active overlay has copied everything, so that the disk can go on without."""
    for disk in _disks(domain_xml):
        mirror = disk.find("mirror")
        if _target(disk) == target and mirror is not None:
            return mirror.get("ready") == "yes"
    return False


def _chain(layer: ET.Element) -> Iterator[str]:
    source, below = layer.find("source"), layer.find("backingStore")
    if source is not None:
        yield source.get("file", "")
    if below is not None:
        yield from _chain(below)


def snapshot_xml(name: str, overlays: Sequence[Overlay], domain_xml: str) -> str:
    """The snapshot that puts `overlays` on their disks (formatsnapshot).

    All other disks are named and left out, or libvirt would choose.

    Raises Rejected when a writable disk has no overlay, or stands on another file: that came after the plan.
    """
    wanted = {overlay.disk.name: overlay for overlay in overlays}
    snapshot = ET.Element("domainsnapshot")
    ET.SubElement(snapshot, "name").text = name
    disks = ET.SubElement(snapshot, "disks")
    for disk in _disks(domain_xml):
        target = _target(disk)
        if target in wanted:
            below = _source(disk).path
            if below != wanted[target].disk.path:
                raise Rejected(f"the disk {target} stands on {below} now, and not on what its overlay was made for")
            put_on = ET.SubElement(disks, "disk", name=target, snapshot="external", type="file")
            ET.SubElement(put_on, "driver", type="qcow2")
            ET.SubElement(put_on, "source", file=wanted.pop(target).path)
        elif _is_written(disk):
            raise Rejected(f"the disk {target} was added after the snapshot was planned")
        else:
            ET.SubElement(disks, "disk", name=target, snapshot="no")
    if wanted:
        raise Rejected(f"the disk {', '.join(wanted)} was removed after the snapshot was planned")
    return ET.tostring(snapshot, encoding="unicode")


def copy_of(domain_xml: str, name: str, disks: Sequence[RestoredDisk]) -> str:
    """The definition of a new domain like that one, but with other disks, that can stand beside it.

    libvirt chooses its UUID, its MAC addresses and its generation id, and makes new firmware variables: two
    domains must not share them. Raises Rejected when it cannot be understood, or has a writable disk that is not given.
    """
    try:
        domain = ET.fromstring(domain_xml)  # noqa: S314 - the sum of its manifest says that libvirtd wrote it
    except ET.ParseError as error:
        raise Rejected(f"the definition of the domain in the backup cannot be read: {error}") from error
    _set_text(domain, "name", name)
    for path in ("uuid", "devices/interface/mac"):
        _remove(domain, path)
    for path in ("genid", "os/nvram"):
        for element in domain.iterfind(path):
            element.text = None
    wanted = {disk.name: disk for disk in disks}
    for element in domain.iterfind("devices/disk"):
        disk = wanted.pop(_target(element), None)
        if disk is not None:
            _stand_on(element, disk)
        elif _is_written(element):
            raise Rejected(f"the domain in the backup has a disk {_target(element)} that was not restored")
    if wanted:
        raise Rejected(f"the domain in the backup has no disk {', '.join(wanted)}")
    return ET.tostring(domain, encoding="unicode")


def throwaway(domain_xml: str, name: str, disks: Mapping[str, Path], firmware: Path) -> str:
    """A domain like that one, whose disks are served by NBD at unix sockets, and which reaches nothing else.

    `firmware` is a file for its firmware's variables. Raises Rejected when its agent could not be asked.
    """
    places = [RestoredDisk(disk, str(socket), ImageFormat.RAW) for disk, socket in disks.items()]
    domain = ET.fromstring(copy_of(domain_xml, name, places))  # noqa: S314 - we wrote it
    for element in domain.iterfind("devices/disk"):
        socket = disks.get(_target(element))
        if socket is not None:
            element.set("type", "network")
            _remove(element, "source")
            source = ET.SubElement(element, "source", protocol="nbd")
            ET.SubElement(source, "host", transport="unix", socket=str(socket))
        elif element.get("device") in _MEDIA:
            _remove(element, "source")
    for tag in _OUTSIDE:
        _remove(domain, f"devices/{tag}")
    for line in ("serial", "console", "parallel"):
        for element in domain.iterfind(f"devices/{line}"):
            element.set("type", "null")
            for tag in ("source", "log", "protocol"):
                _remove(element, tag)
    for variables in domain.iterfind("os/nvram"):
        variables.text = str(firmware)
    _keep_agent(domain)
    return ET.tostring(domain, encoding="unicode")


def _keep_agent(domain: ET.Element) -> None:
    """Leave no channel but libvirt's to the agent, at a socket that libvirt chooses."""
    for devices in domain.iterfind("devices"):
        for channel in devices.findall("channel"):
            target = channel.find("target")
            if target is None or target.get("name") != _AGENT:
                devices.remove(channel)
            _remove(channel, "source")
    if domain.find("devices/channel") is None:
        raise Rejected(f"the domain in the backup has no channel {_AGENT}, so nobody can tell whether it is up")


def _stand_on(element: ET.Element, disk: RestoredDisk) -> None:
    """Let a disk of a domain be that file, and nothing below it."""
    element.set("type", "file")
    for tag in ("source", "backingStore", "mirror", "auth", "encryption"):
        _remove(element, tag)
    ET.SubElement(element, "source", file=disk.path)
    driver = element.find("driver")
    if driver is None:
        driver = ET.SubElement(element, "driver", name="qemu")
    driver.set("type", disk.format)


def _remove(element: ET.Element, path: str) -> None:
    parent, _, tag = path.rpartition("/")
    for each in element.findall(parent or "."):
        for child in each.findall(tag):
            each.remove(child)


def _set_text(element: ET.Element, tag: str, text: str) -> None:
    child = element.find(tag)
    (ET.SubElement(element, tag) if child is None else child).text = text


def disks(domain_xml: str) -> tuple[tuple[str, bool], ...]:
    """Every disk of a domain, and whether a snapshot or a backup must contain it."""
    return tuple((_target(disk), _is_written(disk)) for disk in _disks(domain_xml))


def _disks(domain_xml: str) -> Iterator[ET.Element]:
    return ET.fromstring(domain_xml).iterfind("devices/disk")  # noqa: S314 - libvirtd wrote it, which we trust with more


def _is_written(disk: ET.Element) -> bool:
    left_out = disk.get("device") in _MEDIA or disk.get("snapshot") == "no"
    return not left_out and disk.find("readonly") is None and disk.find("source") is not None


def _source(disk: ET.Element) -> Source:
    source, driver = disk.find("source"), disk.find("driver")
    path = None if source is None else source.get("file")
    if disk.get("type") != "file" or path is None:
        kind = disk.get("type")
        raise Rejected(f"the disk {_target(disk)} cannot be put on a file overlay: its source is a {kind}, not a file")
    return Source(_target(disk), path, "raw" if driver is None else driver.get("type", "raw"))


def _target(disk: ET.Element) -> str:
    target = disk.find("target")
    return "" if target is None else target.get("dev", "")
