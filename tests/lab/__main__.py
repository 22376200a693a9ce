"""`python -m tests.lab build | boot [--libvirt] | sweep | clean`."""

import argparse
import shutil
import sys
from pathlib import Path

from tests.lab.base import Guest
from tests.lab.domain import LibvirtGuest
from tests.lab.guest import BareGuest
from tests.lab.heir import bury, sweep
from tests.lab.image import ensure_image
from tests.lab.libvirtd import be_parent
from tests.lab.places import cache_root
from tests.lab.waiting import LabError


def say(text: str) -> None:
    """Write a line for the person at the terminal."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def boot(guest: Guest) -> None:
    """Boot a guest, say how to reach it, and run the lines of standard input in it until their end."""
    with guest:
        say(f"{guest.name} is up after {guest.start_seconds:.1f} s in {guest.work}")
        say(f"agent: {guest.agent_socket}\nqmp: {guest.qmp_socket}")
        say("type commands for the guest, Ctrl-D to end it")
        for line in sys.stdin:
            try:
                answer = guest.run(line)
                say(f"{answer.output}[status {answer.status}]")
            except LabError as error:
                say(str(error))


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description="real guests for tests")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="build the guests' kernel and initramfs into the cache")
    booted = commands.add_parser("boot", help="start a guest and run the lines of standard input in it")
    booted.add_argument("--libvirt", action="store_true", help="as a libvirt domain")
    commands.add_parser("sweep", help="end the guests that a killed process left behind")
    commands.add_parser("clean", help="sweep, and remove the cache")
    burial = commands.add_parser("bury")
    burial.add_argument("folder", type=Path)
    parent = commands.add_parser("parent")
    parent.add_argument("daemon", nargs=argparse.REMAINDER)
    asked = parser.parse_args()
    try:
        _do(asked)
    except LabError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _do(asked: argparse.Namespace) -> None:
    """Do one command."""
    if asked.command == "build":
        image = ensure_image()
        say(f"{image.kernel}\n{image.initrd}")
    elif asked.command == "boot":
        boot(LibvirtGuest() if asked.libvirt else BareGuest())
    elif asked.command == "bury":
        bury(asked.folder)
    elif asked.command == "parent":
        be_parent(asked.daemon)
    else:
        say(f"{sweep()} guests had been left behind")
        if asked.command == "clean":
            shutil.rmtree(cache_root())


if __name__ == "__main__":
    sys.exit(main())
