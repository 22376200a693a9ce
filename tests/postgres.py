"""A private PostgreSQL server for the tests: made in a folder of its own, reached by a unix socket, gone afterwards."""

import gc
import itertools
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL

#: Every character that a careless url would stumble over.
PASSWORD = "p@ss:w/rd %41#?"  # noqa: S105 - it opens nothing but the private server

#: The server refuses to run as root. Debian's package brings this user.
_RUN_AS: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


class Cluster:
    """One PostgreSQL server, which the test may stop and start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._numbers = itertools.count(1)

    def initialise(self) -> None:
        """Make the server's data, sorting text as people do: what must be sorted by code points has to ask for it."""
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        self._run("initdb", "--username=quiesce", f"--pwfile={secret}", "--auth=scram-sha-256", "--no-sync",
                  "--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en")  # fmt: skip

    def start(self) -> None:
        """Run the server; it accepts connections afterwards."""
        self._run(*self._starting)

    def stop(self) -> None:
        """End the server and all its connections at once."""
        self._run("pg_ctl", "stop", "--wait", "--mode=immediate")

    @property
    def killing(self) -> str:
        """A command of the shell that ends all of the server's processes by SIGKILL, and ends when they are gone."""
        return (
            f'pid=$(head -n 1 {self.data}/postmaster.pid); all="$pid $(cat /proc/$pid/task/$pid/children)"; '
            "kill -9 $all; while kill -0 $all 2>/dev/null; do sleep 0.02; done"
        )

    @property
    def starting(self) -> str:
        """A command of the shell that does the same as `start`."""
        account = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if _RUN_AS else []
        return shlex.join([*account, *self._command(*self._starting)])

    @property
    def _starting(self) -> list[str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "shared_buffers": "16MB",
        }
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        return ["pg_ctl", "start", "--wait", f"--log={self.folder / 'log'}", f"--options={options}"]

    @property
    def running(self) -> bool:
        """Whether its process is there; the file alone stays when it was killed."""
        with suppress(OSError, ValueError):
            os.kill(int((self.data / "postmaster.pid").read_text().split()[0]), 0)
            return True
        return False

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all of the server's processes, so that it keeps its connections and answers nobody."""
        postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGSTOP)  # the first to stop and the last to go on: meanwhile, no child is gone
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        family = [*map(int, children), postmaster]
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            gc.collect()  # an attempt to connect that timed out stays open, and delays others, until it is collected
            for pid in family:
                os.kill(pid, signal.SIGCONT)

    def create(self, template: str = "template1") -> str:
        """Make a database, as a copy of another one, and return its name."""
        name = f"test_{next(self._numbers)}"
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, database: str) -> None:
        """Remove a database, whoever is connected to it."""
        with self.connect("postgres") as connection:
            connection.execute(f"DROP DATABASE {database} WITH (FORCE)")

    def url(self, database: str, password: str = PASSWORD) -> str:
        """How the journal's setting names that database."""
        return URL.create(
            "postgresql+psycopg", "quiesce", password, database=database, query={"host": str(self.folder)}
        ).render_as_string(hide_password=False)

    def connect(self, database: str) -> "psycopg.Connection[Any]":
        """A connection on which each statement is a transaction of its own."""
        return psycopg.connect(
            host=str(self.folder), user="quiesce", password=PASSWORD, dbname=database, autocommit=True
        )

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [str(_programs() / program), f"--pgdata={self.data}", *arguments]

    def _run(self, program: str, *arguments: str) -> None:
        command = self._command(program, *arguments)
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, **_RUN_AS)


def _programs() -> Path:
    """Where the newest installed server is: Debian keeps it off the PATH."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    assert versions, "PostgreSQL is not installed: .ci/packages"
    return versions[-1]


def copy_files(source: Path, target: Path) -> None:
    """Copy a folder with its owners."""
    subprocess.run(["cp", "--archive", source, target], check=True)


@contextmanager
def running_cluster(data: Path | None = None) -> Iterator[Cluster]:
    """A new server, over a copy of `data` or with none, which is stopped and removed afterwards, whatever happened."""
    folder = Path(tempfile.mkdtemp(prefix="quiesce-postgres-"))  # short: a socket's path has at most 107 characters
    try:
        if _RUN_AS:
            shutil.chown(folder, _RUN_AS["user"], _RUN_AS["group"])
        cluster = Cluster(folder)
        if data is None:
            cluster.initialise()
        else:
            copy_files(data, cluster.data)
            (cluster.data / "postmaster.pid").unlink()  # of the server that it was copied from, which is still there
        cluster.start()
        try:
            yield cluster
        finally:
            if cluster.running:
                cluster.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """One server for all tests of a session. Whoever stops or freezes it, starts it again."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def empty_postgres_url(postgres: Cluster) -> Iterator[str]:
    """A database of the test's own, with nothing in it."""
    database = postgres.create()
    yield postgres.url(database)
    postgres.drop(database)
