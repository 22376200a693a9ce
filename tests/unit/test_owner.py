"""Who owns a run, and when that process is gone for certain."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator import owner
from orchestrator.model import Owner


def test_this_process_lives() -> None:
    assert not owner.is_gone(owner.current())


@pytest.mark.parametrize("change", [{"boot": "another"}, {"started": 1}, {"pid": 2**22 + 1}])
def test_a_process_of_another_boot_or_with_a_reused_number_is_gone(change: dict[str, object]) -> None:
    assert owner.is_gone(replace(owner.current(), **change))  # type: ignore[arg-type]


def test_a_process_of_another_host_is_never_certain() -> None:
    assert not owner.is_gone(replace(owner.current(), host="elsewhere", pid=2**22 + 1))


def test_a_process_that_ended_is_gone_even_before_its_parent_has_noticed() -> None:
    program = "from orchestrator import owner; print(owner.current(), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, text=True) as child:
        assert child.stdin and child.stdout
        its = Owner.parse(child.stdout.readline().strip())
        assert not owner.is_gone(its)
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
        assert owner.is_gone(its)


def test_a_process_that_may_not_be_looked_at_is_not_certain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text(boot)
    monkeypatch.setattr(owner, "_PROC", tmp_path)  # as with the mount option hidepid, for another user's process
    other = Owner(socket.gethostname(), boot.strip(), os.getppid(), 1)

    assert not owner.is_gone(other)
    assert owner.is_gone(replace(other, pid=2**22 + 1))


def test_a_process_of_another_container_is_not_certain() -> None:
    """It has the host's name and boot id, and its numbers mean other processes."""
    elsewhere = replace(owner.current(), namespace=1, pid=2**22 + 1)
    assert not owner.is_gone(elsewhere)
    assert owner.is_gone(replace(elsewhere, namespace=owner.current().namespace))


def test_what_was_let_go_is_in_nobodys_hand() -> None:
    assert owner.is_gone(owner.current().nobody)
    assert owner.is_gone(replace(owner.current(), namespace=1).nobody)
    assert not owner.is_gone(replace(owner.current(), host="elsewhere").nobody)


@pytest.mark.parametrize("namespace", [None, 4026531836])
@pytest.mark.parametrize("until", [None, datetime(2026, 3, 29, 1, 30, 0, 1, tzinfo=UTC)])
@pytest.mark.parametrize("host", ["host", "a/strange/host", "ns1", "/until"])
def test_an_owner_survives_being_written_down(host: str, namespace: int | None, until: datetime | None) -> None:
    someone = Owner(host, "boot", 1, 2, namespace, until)
    again = Owner.parse(str(someone))
    assert (again, again.until) == (someone, until)
    assert replace(someone, until=None) == someone


def test_the_owner_of_an_older_version_is_read() -> None:
    assert Owner.parse("a/host/boot/1/2") == Owner("a/host", "boot", 1, 2)
