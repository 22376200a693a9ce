"""A private MariaDB server for the tests: made in a folder of its own, reached by a unix socket, gone afterwards."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.waiting import PATIENCE, wait_for
from tests.postgres import copy_files

#: A small server: its data take 25 MB, and it starts in half a second.
SMALL = ("--innodb-buffer-pool-size=8M", "--innodb-log-file-size=4M", "--innodb-data-file-path=ibdata1:12M:autoextend")
#: A test copies the files that are in the page cache, and loses none of them.
UNSYNCED = ("--debug-no-sync", "--innodb-flush-method=nosync")
#: As root it refuses to run. Debian's package brings this user.
_RUN_AS = ("--user=mysql",) if os.geteuid() == 0 else ()
#: Without the daily that Debian's own settings are.
_OWN = "--no-defaults"


class Server:
    """One server over a folder of data, which the test may stop and start."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.socket = folder, folder / "data", folder / "socket"
        self._process: subprocess.Popen[bytes] | None = None

    def initialise(self) -> None:
        """Make the server's data, with a user root who needs no password."""
        command = ["mariadb-install-db", _OWN, *_RUN_AS, f"--datadir={self.data}", *SMALL, *UNSYNCED, "--skip-test-db"]
        command += ["--auth-root-authentication-method=normal", "--skip-name-resolve"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start(self) -> None:
        """Run the server; it accepts connections afterwards."""
        command = ["mariadbd", _OWN, *_RUN_AS, f"--datadir={self.data}", f"--socket={self.socket}", *SMALL, *UNSYNCED]
        command += ["--skip-networking", f"--pid-file={self.folder / 'pid'}"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(lambda: self._ended() or self._answers(), PATIENCE, "the server")

    @property
    def running(self) -> bool:
        return self._process is not None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all of the server's threads, so that none writes to its files."""
        assert self._process is not None
        tasks = Path(f"/proc/{self._process.pid}/task")
        self._process.send_signal(signal.SIGSTOP)
        try:
            wait_for(lambda: all(_is_stopped(task) for task in tasks.iterdir()), PATIENCE, "all of its threads")
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the server and all its connections at once, as the loss of its host would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def shut_down(self) -> None:
        """Let the server close its files and end."""
        assert self._process is not None
        self.sql("SHUTDOWN;")
        self._process.wait(PATIENCE)

    def sql(self, statements: str) -> list[str]:
        """Carry statements out as root, and return the rows."""
        done = subprocess.run(self.client("root"), input=statements, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def client(self, user: str) -> list[str]:
        """The client's command for a session of its own."""
        return ["mariadb", _OWN, f"--socket={self.socket}", f"--user={user}", "--batch", "--skip-column-names"]

    def log(self) -> str:
        """What the server has said."""
        return (self.folder / "log").read_text()

    def _answers(self) -> bool:
        return (
            subprocess.run([*self.client("root"), "--execute=DO 0"], capture_output=True, check=False).returncode == 0
        )

    def _ended(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        return False


def _is_stopped(task: Path) -> bool:
    return (task / "stat").read_text().rpartition(")")[2].split()[0] == "T"


@contextmanager
def running_server(data: Path | None = None) -> Iterator[Server]:
    """A new server, over a copy of `data` or with none, which is stopped and removed afterwards, whatever happened."""
    folder = Path(tempfile.mkdtemp(prefix="quiesce-mariadb-"))  # short: a socket's path has at most 107 characters
    server = Server(folder)
    try:
        if _RUN_AS:
            shutil.chown(folder, "mysql", "mysql")
        if data is None:
            server.initialise()
        else:
            copy_files(data, server.data)
            subprocess.run(["chown", "--recursive", f"--reference={folder}", server.data], check=True)
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
