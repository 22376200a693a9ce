"""What a guest says about itself becomes hazards and problems, and whatever else it says becomes nothing."""

import os
import subprocess
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.checkup import read

#: Debian's agent brings this file along.
DEFAULT = "there" if os.access("/etc/qemu/fsfreeze-hook", os.X_OK) else "missing"
SCRIPT = files("orchestrator.checkup").joinpath("guest.sh").read_text()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("uptime 7", "booted 7 s ago"),
        ("mount ext4 /dev/loop3 /mnt/image", "/mnt/image is on a loop device"),
        ("mount overlay overlay /var/lib/docker/overlay2/x/merged", "is an overlay"),
        ("mount nfs4 nas:/export /home", "/home (nfs4) is not on a disk of the machine"),
        ("mount fuse.sshfs me@host: /far", "/far (fuse.sshfs) is not on a disk"),
    ],
)
def test_a_hazard_is_told(line: str, said: str) -> None:
    ([hazard], problems) = read([line])
    assert said in hazard
    assert problems == []


@pytest.mark.parametrize(
    "line",
    [
        *(
            "uptime 120",
            "uptime -3",
            "uptime 99999999999999999999",
            "uptime",
            "hook none",
            "hook there /x",
            "mount",
            "",
        ),
        *(
            "mount ext4 /dev/vda1 /",
            "mount squashfs /dev/loop0 /snap/core/1",
            "mount nfs4 a b c",
            "mount proc proc /proc",
        ),
    ],
)
def test_all_else_is_none(line: str) -> None:
    assert read([line]) == ([], [])


def test_a_hook_that_is_missing_is_a_problem() -> None:
    assert read(["hook missing /etc/qemu/fsfreeze-hook"])[1] == [
        "the agent's freeze hook /etc/qemu/fsfreeze-hook is not there or not executable: every freeze would fail"
    ]


def test_a_thousand_overlays_are_told_in_few_lines() -> None:
    hazards, _ = read([f"mount overlay overlay /{number}" for number in range(1000)])
    assert (len(hazards), hazards[-1]) == (21, "and 980 more")


@given(st.lists(st.text()))
def test_whatever_a_guest_says_is_read(lines: list[str]) -> None:
    read(lines)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "hook none"),
        (["-F"], f"hook {DEFAULT} /etc/qemu/fsfreeze-hook"),
        (["-F/bin/true", "-d"], "hook there /bin/true"),
        (["-F", "/bin/true"], "hook there /bin/true"),
        (["--fsfreeze-hook=/nowhere"], "hook missing /nowhere"),
        (["-F", "-d"], f"hook {DEFAULT} /etc/qemu/fsfreeze-hook"),
    ],
)
def test_the_script_finds_the_hook_on_its_parent_s_command_line(words: list[str], said: str) -> None:
    """The parent that it has here is a shell with these words."""
    parent = ["/bin/sh", "-c", '/bin/sh -c "$SCRIPT"; :', "agent", *words]
    ended = subprocess.run(parent, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "SCRIPT": SCRIPT})
    lines = ended.stdout.splitlines()
    assert said in lines
    assert any(line.startswith("uptime ") for line in lines)
    assert any(line.split(" ")[-1] == "/proc" for line in lines)
