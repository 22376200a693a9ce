"""`quiesce channel` on a real domain, with libvirt's own XML as the witness."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.product import Product
from tests.lab import AGENT_CHANNEL, HIDDEN_CHANNEL, BareGuest, LibvirtGuest, Spec, ask_agent, wait_for
from tests.lab.libvirtd import virsh

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real

#: An agent of its own on the hidden channel, as the command says that one must be run.
START_AGENT = f"""
port=$(grep -l '^{HIDDEN_CHANNEL}$' /sys/class/virtio-ports/*/name) && port=${{port%/name}}
qemu-ga -m virtio-serial -p /dev/${{port##*/}} -t /run -f /run/own </dev/null >/dev/null 2>&1 &
echo $! >/run/own.pid
"""


def in_xml(domain: str, *options: str) -> dict[str, str | None]:
    """The channels of a definition, with their sockets, as `virsh dumpxml` has them."""
    found = {}
    root = ET.fromstring(virsh("dumpxml", domain, *options))  # noqa: S314  (libvirt's own)
    for element in root.iterfind("devices/channel"):
        target, source = element.find("target"), element.find("source")
        assert target is not None
        found[str(target.get("name"))] = None if source is None else source.get("path")
    return found


@pytest.fixture
def vm(product: Product, libvirt_guest: LibvirtGuest) -> Iterator[LibvirtGuest]:
    product.machine("vm", libvirt_guest)
    yield libvirt_guest
    product("channel", "remove", "vm", "--name", HIDDEN_CHANNEL)


def test_a_channel_that_libvirt_keeps_its_hands_off(product: Product, vm: LibvirtGuest, tmp_path: Path) -> None:
    socket = vm.work / "own-channel"
    ended = product("channel", "add", "vm", "--name", HIDDEN_CHANNEL, "--path", str(socket), "--json")
    assert (ended.code, ended.run["steps"][-1]["figures"]["added"]) == (0, ["live", "config"]), ended.err
    assert ended.run["steps"][-1]["action"] == "channel"
    assert f"qemu-ga -p /dev/virtio-ports/{HIDDEN_CHANNEL}" in ended.err
    assert f'agent = "unix:{socket}"' in ended.err
    assert in_xml(vm.name)[HIDDEN_CHANNEL] == in_xml(vm.name, "--inactive")[HIDDEN_CHANNEL] == str(socket)

    again = product("channel", "add", "vm", "--name", HIDDEN_CHANNEL, "--json")
    assert (again.code, again.run["steps"][-1]["figures"]["added"]) == (0, [])

    [own, hidden] = product("channel", "show", "vm", "--json").document["answer"]
    assert (own["name"], own["connected"], own["libvirt_s_own"]) == (AGENT_CHANNEL, True, True)
    assert (own["scopes"], own["path"]) == (["live", "config"], in_xml(vm.name)[AGENT_CHANNEL])
    assert (hidden["name"], hidden["connected"], hidden["path"]) == (HIDDEN_CHANNEL, False, str(socket))
    plugged = f"grep -l '^{HIDDEN_CHANNEL}$' /sys/class/virtio-ports/*/name"
    wait_for(lambda: vm.run(plugged).status == 0, 60, "the guest to see its new port")
    vm.shell(START_AGENT)
    wait_for(lambda: vm.open_channels() == 2, 60, "the agent on the new channel")
    assert ask_agent(socket, "guest-ping") == {}
    [_, hidden] = product("channel", "show", "vm", "--json").document["answer"]
    assert hidden["connected"]
    vm.shell("kill $(cat /run/own.pid)")

    vm.agent("guest-fsfreeze-freeze")
    refused = product("channel", "remove", "vm", "--name", HIDDEN_CHANNEL)
    assert (refused.code, HIDDEN_CHANNEL in in_xml(vm.name)) == (5, True)
    vm.agent("guest-fsfreeze-thaw")

    for options, removed in ((["--config"], ["config"]), ([], ["live"]), ([], [])):
        ended = product("channel", "remove", "vm", "--name", HIDDEN_CHANNEL, *options, "--json")
        assert (ended.code, ended.run["steps"][-1]["figures"]["removed"]) == (0, removed), ended.err
    assert in_xml(vm.name).keys() == in_xml(vm.name, "--inactive").keys() == {AGENT_CHANNEL}


@pytest.mark.parametrize("agent", ["absent", "mute"])
def test_it_is_changed_also_where_no_agent_answers(product: Product, vm: LibvirtGuest, agent: str) -> None:
    """That is when one needs it."""
    if agent == "absent":
        vm.kill_agent()
    else:
        vm.stop_agent()
    for act, past in (("add", "added"), ("remove", "removed")):
        ended = product("channel", act, "vm", "--name", HIDDEN_CHANNEL, "--config", "--json")
        assert (ended.code, ended.run["steps"][-1]["figures"][past]) == (0, ["config"]), ended.err
    [own] = product("channel", "show", "vm", "--json").document["answer"]
    assert (own["name"], own["scopes"]) == (AGENT_CHANNEL, ["live", "config"])


def test_libvirt_chooses_the_path_of_its_own_channel(product: Product, lab: None) -> None:
    """A guest without an agent, and without a bus for the channel; it need not boot."""
    guest = LibvirtGuest(Spec(channels=()))
    try:
        product.machine("vm", guest.start())
        assert product("channel", "show", "vm", "--json").document["answer"] == []
        ended = product("channel", "add", "vm", "--config", "--json")
        assert (ended.code, ended.run["steps"][-1]["figures"]["added"]) == (0, ["config"]), ended.err
        assert "install and start qemu-guest-agent" in ended.err
        assert in_xml(guest.name) == {}
        assert in_xml(guest.name, "--inactive") == {AGENT_CHANNEL: None}, "it is chosen at the start"
        again = product("channel", "add", "vm", "--json")
        assert (again.code, again.run["steps"][-1]["figures"]["added"]) == (0, [])
        live = product("channel", "add", "vm", "--live")
        assert (live.code, "use --config, and start it anew" in live.err) == (1, True)
    finally:
        guest.stop()


def in_qemu(guest: BareGuest) -> tuple[set[str], set[str]]:
    """The names of a machine's ports, and the sockets behind its character devices, as QEMU has them."""
    ports = set()
    for folder in ("/machine/peripheral", "/machine/peripheral-anon"):
        for device in guest.monitor("qom-list", {"path": folder}):
            if device["type"] == "child<virtserialport>":
                ports.add(guest.monitor("qom-get", {"path": f"{folder}/{device['name']}", "property": "name"}))
    ends = [device["filename"] for device in guest.monitor("query-chardev")]
    return ports, {end.removeprefix("disconnected:unix:").removesuffix(",server=on") for end in ends}


@pytest.fixture
def bare(product: Product, bare_guest: BareGuest) -> Iterator[BareGuest]:
    product.machine("vm", bare_guest)
    yield bare_guest
    product("channel", "remove", "vm", "--name", HIDDEN_CHANNEL)


def test_a_channel_is_plugged_into_a_qemu_without_libvirt(product: Product, bare: BareGuest) -> None:
    socket = bare.work / "own-channel"
    socket.touch()
    ended = product("channel", "add", "vm", "--name", HIDDEN_CHANNEL, "--path", str(socket))
    assert (ended.code, "is there already, and QEMU would remove it" in ended.err) == (1, True), ended.err
    socket.unlink()
    ended = product("channel", "add", "vm", "--name", HIDDEN_CHANNEL, "--path", str(socket), "--json")
    assert (ended.code, ended.run["steps"][-1]["figures"]["added"]) == (0, ["live"]), ended.err
    assert f"-chardev socket,id=agent,path={socket},server=on,wait=off" in ended.err
    assert f'agent = "unix:{socket}"' in ended.err
    ports, ends = in_qemu(bare)
    assert (ports, str(socket) in ends) == ({AGENT_CHANNEL, HIDDEN_CHANNEL}, True)
    again = product("channel", "add", "vm", "--name", HIDDEN_CHANNEL, "--live", "--json")
    assert (again.code, again.run["steps"][-1]["figures"]["added"]) == (0, [])

    plugged = f"grep -l '^{HIDDEN_CHANNEL}$' /sys/class/virtio-ports/*/name"
    wait_for(lambda: bare.run(plugged).status == 0, 60, "the guest to see its new port")
    bare.shell(START_AGENT)
    wait_for(lambda: bare.run("kill -0 $(cat /run/own.pid)").status == 0, 60, "the agent on the new channel")
    assert ask_agent(socket, "guest-ping") == {}
    [own, hidden] = product("channel", "show", "vm", "--json").document["answer"]
    assert (own["name"], own["connected"], own["path"]) == (AGENT_CHANNEL, True, str(bare.agent_socket))
    assert (hidden["connected"], hidden["scopes"], hidden["path"]) == (True, ["live"], str(socket))
    bare.shell("kill $(cat /run/own.pid)")

    bare.agent("guest-fsfreeze-freeze")
    refused = product("channel", "remove", "vm", "--name", HIDDEN_CHANNEL)
    assert (refused.code, in_qemu(bare)[0]) == (5, {AGENT_CHANNEL, HIDDEN_CHANNEL})
    bare.agent("guest-fsfreeze-thaw")
    for removed in (["live"], []):
        ended = product("channel", "remove", "vm", "--name", HIDDEN_CHANNEL, "--json")
        assert (ended.code, ended.run["steps"][-1]["figures"]["removed"]) == (0, removed), ended.err
    ports, ends = in_qemu(bare)
    assert (ports, str(socket) in ends, socket.exists()) == ({AGENT_CHANNEL}, False, False)


def test_a_qemu_has_only_what_it_has(product: Product, lab: None) -> None:
    """Neither a definition, nor, here, a bus for a channel. It need not boot."""
    guest = BareGuest(Spec(channels=()))
    try:
        guest.start()
        product.table("machines.vm", agent=f"unix:{guest.work}/agent", qmp=f"unix:{guest.qmp_socket}")
        for options, said in (([], "no virtio-serial controller"), (["--config"], "no definition that outlives it")):
            ended = product("channel", "add", "vm", *options)
            assert (ended.code, said in ended.err) == (1, True), ended.err
        assert product("channel", "show", "vm", "--json").document["answer"] == []
    finally:
        guest.stop()


def test_a_machine_that_nobody_can_change_is_told_what_to_do(product: Product, bare_guest: BareGuest) -> None:
    product.table("machines.vm", agent=f"unix:{bare_guest.agent_socket}")
    for words in (["show"], ["add"], ["remove"]):
        ended = product("channel", *words, "vm")
        assert (ended.code, "-device virtserialport,chardev=agent" in ended.err) == (2, True)
    assert product("channel", "add", "vm", "--name", "a b").code == 2
    assert product.history() == []
