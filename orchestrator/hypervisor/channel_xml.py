"""The virtio channels of a domain in libvirt's XML (libvirt.org/formatdomain, "Channel")."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Found:
    """A channel as one definition has it."""

    name: str
    path: str | None
    #: `connected` or `disconnected` in a domain that runs.
    state: str | None
    #: The element as libvirt wrote it.
    xml: str


def channels(domain_xml: str) -> Iterator[Found]:
    """The virtio channels over a unix socket that have a name."""
    for element in ET.fromstring(domain_xml).iterfind("devices/channel"):  # noqa: S314 - libvirtd wrote it
        target, source = element.find("target"), element.find("source")
        if element.get("type") == "unix" and target is not None and target.get("type") == "virtio":
            path = None if source is None else source.get("path")
            yield Found(target.get("name", ""), path, target.get("state"), ET.tostring(element, encoding="unicode"))


def has_bus(domain_xml: str) -> bool:
    """Whether there is a controller into which a channel can be plugged."""
    return ET.fromstring(domain_xml).find("devices/controller[@type='virtio-serial']") is not None  # noqa: S314 - as above


def channel(name: str, path: str | None) -> str:
    """The element of a new channel. Without a path, libvirt (1.0.6) chooses one at each start."""
    element = ET.Element("channel", type="unix")
    ET.SubElement(element, "source", {"mode": "bind", **({} if path is None else {"path": path})})
    ET.SubElement(element, "target", type="virtio", name=name)
    return ET.tostring(element, encoding="unicode")
