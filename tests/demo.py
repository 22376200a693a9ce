"""`make demo`: two real guests, one configuration, one run over both, and what the history says about it.

Everything that it starts, it ends; what it shows are the commands that a user would type, and their real output.
"""

import shlex
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.lab import PATIENCE, BareGuest, Guest, LibvirtGuest, wait_for

QUIESCE = Path(sys.executable).with_name("quiesce")

CONFIGURATION = """\
[journal]
url = "sqlite:///{folder}/journal.db"

[hypervisors.local]
uri = "qemu:///system"

[machines.db1]                      # a libvirt domain
hypervisor = "local"
domain = "{domain}"

[machines.edge1]                    # a QEMU without libvirt
agent = "unix:{agent}"
qmp = "unix:{qmp}"

[jobs.nightly]
machines = ["db1", "edge1"]
driver = "external-snapshot"
quiesce = "required"
"""


def main() -> int:
    """Run the demonstration and return the exit code of the run in it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quiesce-demo-")))
        say("starting two guests: a domain under libvirtd, and a bare QEMU (the first time, they are built and booted)")
        domain, bare = LibvirtGuest(), BareGuest()
        for guest in (domain, bare):
            guest.start()
            stack.callback(guest.stop)
        for guest in (domain, bare):
            guest.wait_ready()
            guest.start_writer()
        up = " and ".join(f"{guest.start_seconds:.1f} s" for guest in (domain, bare))
        say(f"up after {up}; in both, a program writes all the time")
        configuration = folder / "quiesce.toml"
        configuration.write_text(
            CONFIGURATION.format(folder=folder, domain=domain.name, agent=bare.agent_socket, qmp=bare.qmp_socket)
        )
        say("the configuration:")
        print(configuration.read_text())
        quiesce(configuration, "check")
        code = quiesce(configuration, "run", "nightly")
        quiesce(configuration, "history")
        for guest in (domain, bare):
            wait_for(partial(wrote_since, guest, guest.writer_flushed()), PATIENCE, "one more record on each disk")
        say("both programs went on writing after the thaw")
    say("nothing is left running" if code == 0 else f"the run ended with exit code {code}")
    return code


def quiesce(configuration: Path, *words: str) -> int:
    """Type a command for the user and return its exit code."""
    print(f"$ quiesce {shlex.join(words)}", flush=True)
    code = subprocess.run([QUIESCE, "--config", configuration, *words], check=False).returncode
    print(flush=True)
    return code


def wrote_since(guest: Guest, records: int) -> bool:
    """Whether the guest's program has more records on disk than those."""
    return guest.writer_flushed() > records


def say(text: str) -> None:
    print(f"--- {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
