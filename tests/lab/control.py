"""What tests do inside a guest, whichever way it was started.

Everything here goes over the serial line, never through the agent: the agent is one of the things under test.
"""

import shlex
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from tests.lab.serial_line import Answer
from tests.lab.waiting import PATIENCE, LabError, wait_for

METER_LOG = "/run/stallmeter.log"
#: For how long a guest's clock is watched, and how far it may be off, as a part of that.
CLOCK_SECONDS, CLOCK_DRIFT = 3.0, 0.05
WRITER_REPORT = "/run/writer.flushed"


@dataclass(frozen=True)
class Stall:
    """A time during which the guest's application got no flush confirmed; `end_ms` is the guest's monotonic clock."""

    ms: float
    end_ms: float


class GuestControl(ABC):
    """In-guest helpers over two primitives: run a script, ask the agent."""

    @property
    @abstractmethod
    def mounts(self) -> tuple[str, ...]:
        """Return where the guest's disks are mounted."""

    @abstractmethod
    def run(self, script: str, timeout: float = PATIENCE) -> Answer:
        """Run a shell script in the guest over the serial line and return how it ended; `timeout` in seconds."""

    @abstractmethod
    def agent(self, command: str, arguments: dict[str, Any] | None = None, timeout: float = PATIENCE) -> Any:
        """Ask the agent, by the lab's own client, and return its result; `timeout` in seconds."""

    @property
    @abstractmethod
    def channel_count(self) -> int:
        """Return how many channels the guest has."""

    @abstractmethod
    def open_channels(self) -> int:
        """Return how many of the guest's channels an agent has opened, as far as the host knows."""

    def shell(self, script: str, timeout: float = PATIENCE) -> str:
        """Run a shell script in the guest and return its output; LabError when its status is not 0."""
        answer = self.run(script, timeout)
        if answer.status != 0:
            raise LabError(f"status {answer.status} in the guest: {script!r}: {answer.output.strip()}")
        return answer.output

    # The agent's process

    def agent_pids(self) -> list[int]:
        """Return the pids of the agents in the guest; none when it is not running."""
        return [int(pid) for pid in self.run("pidof qemu-ga").output.split()]

    def kill_agent(self) -> None:
        """End the agent without letting it clean up, and wait until it is gone."""
        self.run("killall -9 qemu-ga")
        wait_for(lambda: not self.agent_pids() and not self.open_channels(), PATIENCE, "the end of the agent")

    def stop_agent(self) -> None:
        """Make the agent mute: it is there, its channel is open, and it answers nothing."""
        self.shell("killall -STOP qemu-ga")

    def cont_agent(self) -> None:
        """Let a mute agent go on; it then works off what was asked meanwhile."""
        self.shell("killall -CONT qemu-ga")

    def start_agent(self) -> None:
        """Start the agent, which must not be running, and wait until it can be reached."""
        self.shell("agentctl start")
        self.wait_agent()

    def wait_agent(self) -> None:
        """Wait until an agent has opened each of the guest's channels, and the host knows it."""
        wait_for(lambda: self.open_channels() == self.channel_count, PATIENCE, "the agent to open its channel")

    def restart_agent(self, options: str = "", hook: str = "") -> None:
        """Restart the agent with other options, for instance "-b guest-exec", and with a freeze hook (a script).

        A hook is called with "freeze" or "thaw"; "" is none. A state that the agent kept of a freeze is kept.
        """
        if self.agent_pids():
            self.kill_agent()
        for path, text in (("/etc/qemu/options", options and f"{options}\n"), ("/etc/qemu/fsfreeze-hook", hook)):
            self.write_file(path, text) if text else self.shell(f"rm -f {path}")
        self.start_agent()

    # The kernel's state

    def frozen_mounts(self) -> list[str]:
        """Return the mount points that the kernel holds frozen now, whatever the agent believes."""
        lines = self.shell(f"frozen {' '.join(self.mounts)}").splitlines() if self.mounts else []
        return [line.partition(" ")[2] for line in lines if line.startswith("frozen ")]

    def fs_frozen(self) -> bool:
        """Tell whether the kernel holds any of the guest's disks frozen."""
        return bool(self.frozen_mounts())

    def freeze_by_hand(self, mount: str) -> None:
        """Freeze one file system behind the agent's back."""
        self.shell(f"fsfreeze -f {mount}")

    def thaw_by_hand(self, mount: str) -> None:
        """Thaw one file system behind the agent's back."""
        self.shell(f"fsfreeze -u {mount}")

    def mount_loop(self, mount: str = "/mnt/loop", backing: str = "/data", megabytes: int = 8) -> None:
        """Mount a file system whose disk is a file on another file system: an agent freezes both, in some order."""
        file = f"{backing}/loop-{mount.replace('/', '-')}"
        self.shell(
            f"dd if=/dev/zero of={file} bs=1M count={megabytes} 2>/dev/null && device=$(losetup -f) && "
            f"losetup $device {file} && mke2fs $device >/dev/null && mkdir -p {mount} && "
            f"mount -t ext2 $device {mount}"
        )

    def umount_loop(self, mount: str = "/mnt/loop") -> None:
        """Undo `mount_loop`, apart from its file."""
        self.shell(f"device=$(awk '$2 == \"{mount}\" {{print $1}}' /proc/mounts); umount {mount} && losetup -d $device")

    # Load and what it feels

    def write_file(self, path: str, text: str, mode: str = "755") -> None:
        """Put a text into a file of the guest."""
        self.shell(f"printf %s {shlex.quote(text)} >{path} && chmod {mode} {path}")

    def start_stallmeter(self, mount: str = "/data", threshold_ms: float = 20.0) -> None:
        """Start an application that flushes all the time and notes each gap above the threshold."""
        self.stop_stallmeter()
        self.shell(f": >{METER_LOG}; stallmeter {mount}/stallmeter {threshold_ms} >>{METER_LOG} & :")
        wait_for(lambda: "START" in self.shell(f"cat {METER_LOG}"), PATIENCE, "the stall meter's first flush")

    def mark(self, text: str) -> None:
        """Note a moment in the stall meter's log."""
        self.shell(f"stallmeter --mark {shlex.quote(text)} >>{METER_LOG}")

    def clock_ms(self) -> float:
        """Return the guest's monotonic clock."""
        return float(self.shell("stallmeter --now"))

    def clock_offset_ms(self) -> float:
        """Return how far the guest's monotonic clock is ahead of the host's, by the quickest of five readings."""
        readings = []
        for _ in range(5):
            before = time.monotonic() * 1000
            shown = self.clock_ms()
            after = time.monotonic() * 1000
            readings.append((after - before, shown - (before + after) / 2))
        return min(readings)[1]

    def keeps_time(self) -> bool:
        """Tell whether the guest's clock goes as fast as the host's: one that boots on a busy host may err."""
        begun, offset = time.monotonic(), self.clock_offset_ms()
        wait_for(lambda: time.monotonic() > begun + CLOCK_SECONDS, PATIENCE, "some seconds")
        passed = time.monotonic() - begun
        return abs(self.clock_offset_ms() - offset) < passed * 1000 * CLOCK_DRIFT

    def meter_log(self) -> list[str]:
        """Return the stall meter's lines: START, STALL and MARK."""
        return self.run(f"cat {METER_LOG}").output.splitlines()

    def stalls(self) -> list[Stall]:
        """Return the gaps noted since the start of the meter; one that has not ended yet is not among them."""
        found = [line.split() for line in self.meter_log() if line.startswith("STALL ")]
        return [Stall(float(words[1]), float(words[2])) for words in found]

    def stop_stallmeter(self) -> list[Stall]:
        """Stop the meter, if it runs, and return what it found."""
        self.run("killall -9 stallmeter")
        return self.stalls()

    def start_writer(self, mount: str = "/data") -> None:
        """Start a busy application whose numbered records can be proven to be in a restored image."""
        self.stop_writer()
        self.shell(f"rm -f {WRITER_REPORT}; writer {mount}/records {WRITER_REPORT} >/run/writer.log & :")
        wait_for(self.writer_flushed, PATIENCE, "the writer's first flush")

    def writer_flushed(self) -> int:
        """Return the number of the last record whose flush was confirmed; 0 when there is none."""
        return int(self.run(f"cat {WRITER_REPORT} 2>/dev/null").output or 0)

    def stop_writer(self) -> int:
        """Stop the writer, if it runs, and return the number of its last confirmed record."""
        self.run("killall -9 writer")
        return self.writer_flushed()

    def check_records(self, path: str = "/data/records") -> int:
        """Return how many whole records a writer's file holds; LabError when one of them is damaged."""
        return int(self.shell(f"writer --check {path}").split()[1])

    def dirty(self, megabytes: int, mount: str = "/data") -> float:
        """Write that much into the guest's page cache, and return how many megabytes of it are not on the disk yet.

        It takes a disk and a memory that can hold it: the kernel writes back at once beyond `vm.dirty_ratio` percent.
        """
        self.shell(f"dd if=/dev/zero of={mount}/dirty bs=1M count={megabytes} conv=notrunc 2>&1", timeout=120)
        return self.unwritten_mb()

    def unwritten_mb(self) -> float:
        """Return how much data waits in the guest's page cache for its disks (Dirty + Writeback), in megabytes."""
        total = self.shell("awk '/^(Dirty|Writeback):/ {sum += $2} END {print sum}' /proc/meminfo")
        return int(total) / 1024
