"""The conditions under which the contenders meet, and how they take turns."""

import resource
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from orchestrator.clock import SystemClock
from orchestrator.journal import SqlJournal
from orchestrator.model import PreFlush, State
from tests.bench.contenders import Contender, Sample, floor, peer, quiesce
from tests.bench.guests import BURST_MB, SLOW
from tests.journals import a_run, a_step
from tests.lab import BareGuest, Guest, LibvirtGuest
from tests.lab.libvirtd import URI

#: What each contender of a condition did, by its name.
Samples = dict[str, list[Sample]]

PEER, DOMAIN, BARE = "virsh", "quiesce, libvirt", "quiesce, bare QEMU"
DOMAIN_FLOOR, BARE_FLOOR = "floor, libvirt", "floor, bare QEMU"
#: How this program is called after a burst, for each kind of pre-flush.
BURST = {how: f"quiesce, pre_flush = {how}" for how in PreFlush}


class Duration(NamedTuple):
    """What a command took: on the clock, and of the processor, which a busy machine changes less. Both in seconds."""

    clock: float
    processor: float


class Bench:
    """One run of the benchmark: its folder, its configuration, and a journal with a past."""

    def __init__(self, folder: Path, rounds: int, say: Callable[[str], None]) -> None:
        self._configuration, self._journal = folder / "quiesce.toml", folder / "journal.db"
        self._rounds, self._say = rounds, say

    def idle(self) -> Samples:
        """Guests on which nothing but the meter writes."""
        domain, bare = LibvirtGuest(), BareGuest()
        with _booted(domain, bare):
            self._configure(domain, bare)
            return self._in_turns(
                Contender(PEER, domain, partial(peer, domain)),
                Contender(DOMAIN, domain, self._run("domain", PreFlush.OFF)),
                Contender(BARE, bare, self._run("bare", PreFlush.OFF)),
                Contender(BARE_FLOOR, bare, partial(floor, bare)),
                Contender(DOMAIN_FLOOR, domain, partial(floor, domain)),
            )

    def burst(self) -> Samples:
        """A guest on a slow disk that has just written more than the disk can take at once."""
        guest = LibvirtGuest(SLOW)
        with _booted(guest):
            guest.dirty(BURST_MB)  # the file's blocks: from now on its contents are written over
            guest.shell("sync", timeout=60)
            self._configure(guest)
            ours = [Contender(name, guest, self._run("domain", how), burst=True) for how, name in BURST.items()]
            return self._in_turns(Contender(PEER, guest, partial(peer, guest), burst=True), *ours)

    def history(self, runs: int) -> list[Duration]:
        """What `quiesce history` takes, over so many runs of the past."""
        self._say(f"writing {runs} runs into a journal")
        self._configure()
        self._live(runs)
        taken = []
        for _ in range(self._rounds):
            used, begun = used_by_children(), time.monotonic()
            quiesce(self._configuration, "history")
            taken.append(Duration(time.monotonic() - begun, used_by_children() - used))
        return taken

    def _run(self, machine: str, how: PreFlush) -> Callable[[], dict[str, object]]:
        return partial(quiesce, self._configuration, "run", f"{machine}-{how}")

    def _in_turns(self, *contenders: Contender) -> Samples:
        samples: Samples = {contender.name: [] for contender in contenders}
        for number in range(self._rounds):
            for contender in contenders:
                sample = contender.turn()
                samples[contender.name].append(sample)
                self._say(f"{number + 1}/{self._rounds} {contender.name}: {sample.longest:.0f} ms")
        return samples

    def _configure(self, *guests: Guest) -> None:
        """Write a configuration in which each guest is a machine, with one job for each kind of pre-flush."""
        lines = ["[journal]", f'url = "sqlite:///{self._journal}"', "[hypervisors.local]", f'uri = "{URI}"']
        for guest in guests:
            machine = "domain" if isinstance(guest, LibvirtGuest) else "bare"
            lines.append(f"[machines.{machine}]")
            if isinstance(guest, LibvirtGuest):
                lines += ['hypervisor = "local"', f'domain = "{guest.name}"']
            else:
                lines += [f'agent = "unix:{guest.agent_socket}"', f'qmp = "unix:{guest.qmp_socket}"']
            for how in PreFlush:
                lines += [f"[jobs.{machine}-{how}]", f'machines = ["{machine}"]', 'driver = "external-snapshot"']
                lines.append(f'pre_flush = "{how}"')
        self._configuration.write_text("\n".join(lines) + "\n")

    def _live(self, runs: int) -> None:
        """Give the journal a past of so many runs."""
        steps = [a_step("db1", number) for number in range(7)]
        with closing(SqlJournal.open(f"sqlite:///{self._journal}", SystemClock())) as journal:
            for number in range(runs):
                run = journal.open_run(a_run(f"20260101-000000-{number:06}", "db1"))
                for state in (State.RUNNING, State.DONE):
                    journal.move(run, replace(run.target("db1"), state=state), steps)


def used_by_children() -> float:
    """Seconds of the processor that the programs have used which this one has started and seen end."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _booted(*guests: Guest) -> ExitStack:
    """A context at whose end the guests are gone."""
    with ExitStack() as stack:
        for guest in guests:
            stack.callback(guest.stop)
            guest.start()
        for guest in guests:
            guest.wait_ready()
        return stack.pop_all()
