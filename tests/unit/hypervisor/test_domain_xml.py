"""A domain's disks as libvirt writes them, and the snapshot that we ask for."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from orchestrator.errors import Rejected
from orchestrator.hypervisor.domain_xml import Source, chains, copy_of, layers, snapshot_xml, throwaway, writable_disks
from orchestrator.model import Disk, ImageFormat, Overlay, RestoredDisk

VDA = """
<disk type='file' device='disk'>
  <driver name='qemu' type='qcow2'/>
  <source file='/a/vm.quiesce-r1.qcow2' index='2'/>
  <backingStore type='file'>
    <format type='raw'/><source file='/a/vm.raw'/><backingStore/>
  </backingStore>
  <target dev='vda' bus='virtio'/>
</disk>"""
VDB = "<disk type='file'><source file='/a/b &amp; &lt;c&gt;.img'/><target dev='vdb'/></disk>"
LEFT_OUT = """
<disk type='file' device='cdrom'><source file='/a/install.iso'/><target dev='sda'/><readonly/></disk>
<disk type='file' device='cdrom'><target dev='sdb'/><readonly/></disk>
<disk type='file' device='floppy'><source file='/a/floppy.img'/><target dev='fda'/></disk>
<disk type='file' device='disk'><source file='/a/shared.img'/><target dev='vdr'/><readonly/></disk>
<disk type='network' device='disk' snapshot='no'><source protocol='nbd' name='scratch'/><target dev='vds'/></disk>"""


def domain(*disks: str) -> str:
    return f"<domain type='kvm'><name>db1</name><devices>{''.join(disks)}</devices></domain>"


#: What the disks of the domain stand on.
TOPS = {"vda": "/a/vm.quiesce-r1.qcow2", "vdb": "/a/b & <c>.img"}


def overlay(target: str, path: str) -> Overlay:
    return Overlay(Disk(target, target, TOPS.get(target, "/below"), "raw", 1 << 20), path)


def test_writable_disks_are_found_and_everything_else_is_not() -> None:
    assert writable_disks(domain(VDA, LEFT_OUT, VDB)) == (
        Source("vda", "/a/vm.quiesce-r1.qcow2", "qcow2"),
        Source("vdb", "/a/b & <c>.img", "raw"),
    )


@pytest.mark.parametrize(
    "disk",
    [
        "<disk type='network'><source protocol='rbd' name='pool/image'/><target dev='vdn'/></disk>",
        "<disk type='volume'><source pool='default' volume='vm'/><target dev='vdn'/></disk>",
        "<disk type='block'><source dev='/dev/vg/vm'/><target dev='vdn'/></disk>",
    ],
    ids=["network", "volume", "block"],
)
def test_a_disk_that_is_no_file_is_refused_by_name(disk: str) -> None:
    with pytest.raises(Rejected, match="the disk vdn cannot be put on a file overlay: its source is a"):
        writable_disks(domain(VDA, disk))


def test_layers_are_all_files_below_and_all_that_is_copied_to() -> None:
    mirrored = VDB.replace("<target", "<mirror type='file'><source file='/c/copy.img'/></mirror><target")
    assert layers(domain(VDA, mirrored)) == {"/a/vm.quiesce-r1.qcow2", "/a/vm.raw", "/a/b & <c>.img", "/c/copy.img"}


def test_only_a_domain_that_runs_tells_what_its_disks_stand_on() -> None:
    definition = domain(VDA, LEFT_OUT, VDB)
    running = definition.replace("<domain", "<domain id='3'")
    assert chains(running) == {"vda": ("/a/vm.quiesce-r1.qcow2", "/a/vm.raw"), "vdb": ("/a/b & <c>.img",)}
    with pytest.raises(Rejected, match="shut off"):
        chains(definition)


def test_a_snapshot_names_every_disk() -> None:
    overlays = [overlay("vdb", "/a/<&'\">.qcow2"), overlay("vda", "/a/vm.quiesce-r2.qcow2")]
    snapshot = ET.fromstring(snapshot_xml("quiesce-r2", overlays, domain(VDA, LEFT_OUT, VDB)))  # noqa: S314 - ours
    assert snapshot.findtext("name") == "quiesce-r2"
    asked = {disk.attrib["name"]: disk for disk in snapshot.iterfind("disks/disk")}
    assert {name: disk.attrib["snapshot"] for name, disk in asked.items()} == {
        **dict.fromkeys(["vda", "vdb"], "external"),
        **dict.fromkeys(["sda", "sdb", "fda", "vdr", "vds"], "no"),
    }
    for put in overlays:
        source, driver = asked[put.disk.name].find("source"), asked[put.disk.name].find("driver")
        assert source is not None
        assert source.attrib == {"file": put.path}
        assert driver is not None
        assert driver.attrib == {"type": "qcow2"}


def test_a_disk_that_came_or_went_since_the_plan_is_refused() -> None:
    with pytest.raises(Rejected, match="the disk vdb was added after the snapshot was planned"):
        snapshot_xml("quiesce-r2", [overlay("vda", "/a/x.qcow2")], domain(VDA, VDB))
    with pytest.raises(Rejected, match="the disk vdc was removed after the snapshot was planned"):
        snapshot_xml("quiesce-r2", [overlay("vda", "/x"), overlay("vdc", "/y")], domain(VDA))


def test_a_disk_that_stands_on_another_file_since_the_plan_is_refused() -> None:
    """An overlay names the file that it was made for: the machine would not start on it again."""
    merged = domain(VDA.replace("vm.quiesce-r1.qcow2", "vm.raw"))
    with pytest.raises(Rejected, match=r"the disk vda stands on /a/vm\.raw now, and not on what its overlay was made"):
        snapshot_xml("quiesce-r2", [overlay("vda", "/a/vm.quiesce-r2.qcow2")], merged)


SAVED = """
<domain type='kvm' id='3'>
  <name>db1</name><uuid>12345678-0000-4000-8000-000000000000</uuid><genid>87654321-0000-4000-8000-000000000000</genid>
  <os><type>hvm</type><nvram template='/usr/VARS.fd'>/var/lib/nvram/db1.fd</nvram></os>
  <devices>
    <disk type='network' device='disk'>
      <driver name='qemu' type='raw' cache='none'/><auth username='u'/><source protocol='rbd' name='pool/db1'/>
      <backingStore/><target dev='vda' bus='virtio'/><serial>S1</serial>
    </disk>
    <disk type='file' device='disk'><source file='/a/b.img'/><target dev='vdb'/></disk>
    <disk type='file' device='cdrom'><source file='/a/install.iso'/><target dev='sda'/><readonly/></disk>
    <interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/></interface>
    <interface type='bridge'><mac address='52:54:00:00:00:02'/></interface>
  </devices>
</domain>"""
RESTORED = (
    RestoredDisk("vda", "/out/a & b.qcow2", ImageFormat.QCOW2),
    RestoredDisk("vdb", "/out/vdb.raw", ImageFormat.RAW),
)


def test_a_copy_of_a_domain_shares_nothing_with_it() -> None:
    copy = copy_of(SAVED, "db2 <new>", RESTORED)

    assert writable_disks(copy) == (Source("vda", "/out/a & b.qcow2", "qcow2"), Source("vdb", "/out/vdb.raw", "raw"))
    domain = ET.fromstring(copy)  # noqa: S314 - we wrote it
    assert domain.findtext("name") == "db2 <new>"
    assert domain.find("uuid") is None
    assert (domain.findtext("genid"), domain.findtext("os/nvram")) == ("", "")
    assert [len(interface) for interface in domain.iter("interface")] == [1, 0]
    vda, _, cdrom = domain.iter("disk")
    assert [child.tag for child in vda] == ["driver", "target", "serial", "source"]
    assert vda.find("driver[@cache='none']") is not None
    assert cdrom.find("source[@file='/a/install.iso']") is not None


def test_a_copy_has_exactly_the_disks_that_were_restored() -> None:
    with pytest.raises(Rejected, match="has a disk vdb that was not restored"):
        copy_of(SAVED, "db2", RESTORED[:1])
    with pytest.raises(Rejected, match="has no disk vdz"):
        copy_of(SAVED, "db2", (*RESTORED, RestoredDisk("vdz", "/out/vdz.raw", ImageFormat.RAW)))
    with pytest.raises(Rejected, match="cannot be read"):
        copy_of("<domain>", "db2", ())


RUNNING = SAVED.replace(
    "</devices>",
    """
    <graphics type='vnc' port='5900'/><hostdev mode='subsystem' type='pci'/><filesystem type='mount'/>
    <serial type='unix'><source mode='bind' path='/run/db1'/><target port='0'/></serial>
    <console type='pty'><source path='/dev/pts/1'/><log file='/var/log/db1'/><target type='serial'/></console>
    <channel type='unix'><source mode='bind' path='/run/x'/><target type='virtio' name='com.example'/></channel>
    <channel type='unix'>
      <source mode='bind' path='/var/lib/libvirt/qemu/channel/target/domain-3-db1/org.qemu.guest_agent.0'/>
      <target type='virtio' name='org.qemu.guest_agent.0' state='connected'/>
    </channel>
  </devices>""",
)
SOCKETS = {"vda": Path("/s/disk0"), "vdb": Path("/s/disk1")}


def test_a_throwaway_domain_reaches_nothing_but_its_disks_and_its_agent() -> None:
    text = throwaway(RUNNING, "quiesce-verify-r1", SOCKETS, Path("/s/firmware"))

    domain = ET.fromstring(text)  # noqa: S314 - we wrote it
    devices = domain.find("devices")
    assert devices is not None
    assert [child.tag for child in devices] == ["disk", "disk", "disk", "serial", "console", "channel"]
    vda, vdb, cdrom = devices.iter("disk")
    for disk, socket in ((vda, "/s/disk0"), (vdb, "/s/disk1")):
        assert disk.get("type") == "network"
        assert disk.find(f"source[@protocol='nbd']/host[@transport='unix'][@socket='{socket}']") is not None
        assert disk.find("driver[@type='raw']") is not None
    assert cdrom.find("source") is None
    assert [line.get("type") for line in (*devices.findall("serial"), *devices.findall("console"))] == ["null", "null"]
    assert devices.find("channel/target[@name='org.qemu.guest_agent.0']") is not None
    assert devices.find("channel/source") is None
    assert domain.findtext("os/nvram") == "/s/firmware"
    for secret in ("/run/", "/dev/pts", "/var/log", "52:54", "db1", "rbd"):
        assert secret not in text


def test_a_domain_without_a_channel_to_its_agent_is_not_started() -> None:
    with pytest.raises(Rejected, match=r"has no channel org\.qemu\.guest_agent\.0"):
        throwaway(SAVED, "quiesce-verify-r1", SOCKETS, Path("/s/firmware"))
