"""A consistent application, shown with MariaDB in a real guest: rows are committed all the time, and a server that is
started on the snapshot has every row that was committed before the cut.

The guest's server is set so that a commit alone writes nothing: the hook must see to it.
"""

import shutil
from pathlib import Path

import pytest

from tests.acceptance.product import Product, target
from tests.hook import CONFIG
from tests.lab import BareGuest, Disk, Spec, wait_for
from tests.lab.disks import make_filled_disk
from tests.lab.image import libraries
from tests.lab.proof import examine_ext4, folder_of
from tests.lab.sharing import FreshBareGuest
from tests.mariadb import SMALL, running_server

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = [pytest.mark.real, pytest.mark.soak, pytest.mark.timeout(300)]

PROGRAMS = (Path("/usr/sbin/mariadbd"), Path("/usr/bin/mariadb"))
MESSAGES = Path("/usr/share/mysql")
#: Debian's programs in the guest, with the libraries that they were linked with.
WRAPPER = '#!/bin/sh\nLD_LIBRARY_PATH=/app/lib exec /app/bin/{} "$@"\n'
#: Sizes as on the host, so that the files fit both.
START = f"""
setsid mariadbd --no-defaults --user=root --datadir=/data/data --socket=/run/mariadb.sock --pid-file=/run/mariadb.pid \\
    --skip-networking --innodb-flush-log-at-trx-commit=0 {" ".join(SMALL)} \\
    --lc-messages-dir=/app/share --character-sets-dir=/app/share/charsets >/run/mariadb.log 2>&1 </dev/null & :
"""
CLIENT = "mariadb --no-defaults --socket=/run/mariadb.sock --user=root --batch --skip-column-names --unbuffered"
#: Commits the numbers from 1 on, each in a transaction of its own, and says which is committed.
COMMIT = "INSERT INTO app.numbers VALUES (NULL); SELECT LAST_INSERT_ID();"
WRITER = f"#!/bin/sh\nyes '{COMMIT}' | {CLIENT} >/run/committed\n"
#: A script of the hook that runs behind the one for MariaDB: no row is committed any more.
NOTE = '#!/bin/sh\n[ "$1" = thaw ] || tail -n 1 /run/committed >/run/committed-before\n'
ROWS = "SELECT n FROM app.numbers ORDER BY n;"


def data_disk(folder: Path) -> Path:
    """A disk with the data of a server that has an application's table, and a user for the hook."""
    with running_server() as server:
        server.sql("CREATE DATABASE app; CREATE TABLE app.numbers (n INT PRIMARY KEY AUTO_INCREMENT) ENGINE=InnoDB;")
        server.sql("CREATE USER quiesce@localhost IDENTIFIED BY 'a secret'; GRANT RELOAD ON *.* TO quiesce@localhost;")
        server.shut_down()
        return make_filled_disk(folder / "data.qcow2", 128, server.folder)


def programs_disk(folder: Path) -> Path:
    """A disk with the server, the client, and what they load."""
    tree = folder / "programs"
    for name in ("bin", "lib"):
        (tree / name).mkdir(parents=True)
    for program in PROGRAMS:
        shutil.copy(program, tree / "bin")
        for library in libraries(program):
            shutil.copy(library, tree / "lib")
    shutil.copytree(MESSAGES / "charsets", tree / "share/charsets")
    shutil.copytree(MESSAGES / "english", tree / "share/english")
    return make_filled_disk(folder / "programs.qcow2", 128, tree)


@pytest.fixture
def writing(product: Product, fresh_bare_guest: FreshBareGuest, tmp_path: Path) -> BareGuest:
    """A guest with our hooks and a MariaDB, whose application commits all the time."""
    disks = (Disk(image=data_disk(tmp_path)), Disk(image=programs_disk(tmp_path), mount="/app"))
    guest = fresh_bare_guest(Spec(disks=disks, memory_mb=384))
    for program in PROGRAMS:
        guest.write_file(str(program), WRAPPER.format(program.name))
    guest.shell(START)
    wait_for(lambda: guest.run(f"{CLIENT} -e 'DO 0'").status == 0, 90, "the server in the guest", poll=1)
    guest.shell("mkdir -p /etc/qemu/fsfreeze-hook.d /etc/quiesce")
    guest.write_file("/etc/qemu/fsfreeze-hook.d/mysql", (CONFIG / "fsfreeze-hook.d/mysql").read_text())
    guest.write_file("/etc/qemu/fsfreeze-hook.d/zz-note", NOTE)
    guest.write_file(
        "/etc/quiesce/mysql.cnf", "[client]\nsocket=/run/mariadb.sock\nuser=quiesce\npassword='a secret'\n"
    )
    guest.restart_agent(hook=(CONFIG / "fsfreeze-hook").read_text())
    guest.write_file("/run/app", WRITER)
    guest.shell("setsid /run/app >/run/app.log 2>&1 </dev/null & :")
    wait_for(lambda: committed(guest) >= 5, 60, "the first rows")
    product.machine("vm", guest)
    product.job("vm", freeze_timeout="30s")
    return guest


def committed(guest: BareGuest, when: str = "") -> int:
    return int(guest.run(f"tail -n 1 /run/committed{when} 2>/dev/null").output or 0)


def test_a_server_on_the_snapshot_has_every_row(product: Product, writing: BareGuest) -> None:
    disk = writing.active_disks()[0]
    ended = product.run()
    run = ended.run
    assert (ended.code, run["state"], run["consistency"]) == (0, "done", "application"), (ended.err, log_of(writing))
    before = committed(writing, "-before")
    wait_for(lambda: committed(writing) > before, 30, "the application to go on")

    assert target(run)["snapshot"]["disks"][0]["path"] == str(disk)
    assert examine_ext4(disk).quiesced
    with folder_of(disk, "/data") as data, running_server(data) as copy:
        rows = copy.sql(ROWS)
        assert copy.sql("CHECK TABLE app.numbers EXTENDED;")[-1].endswith("status\tOK")
        assert "InnoDB: Starting crash recovery" in copy.log(), "the log holds them, not yet the tables"
    assert rows == [str(n) for n in range(1, len(rows) + 1)]
    assert before >= 5
    assert len(rows) in {before, before + 1}, "the last one may have been committed and not yet been told"


def log_of(guest: BareGuest) -> str:
    return guest.run("tail -n 20 /run/quiesce-fsfreeze/log /run/mariadb.log").output
