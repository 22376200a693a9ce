"""The sockets on which the service listens: opened before anything begins, so that a mistake is told at once."""

import errno
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from orchestrator.errors import ConfigError
from orchestrator.model import Listener, UnixListener

#: What the group of the service may do too: who may connect, may ask.
_MODE = 0o660
#: Connections that wait to be taken.
_BACKLOG = 128


@contextmanager
def listening(listeners: Iterable[Listener]) -> Iterator[Sequence[socket.socket]]:
    """Within the `with`, these sockets listen; afterwards the files of unix sockets are gone.

    A file that a dead service left is replaced. Raises ConfigError, which names the listener, when one cannot be had.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(_opened(listener)) for listener in listeners]


@contextmanager
def _opened(listener: Listener) -> Iterator[socket.socket]:
    family = socket.AF_INET
    if isinstance(listener, UnixListener):
        family = socket.AF_UNIX
    elif ":" in listener.address:
        family = socket.AF_INET6
    with socket.socket(family) as opened:
        try:
            _bind(opened, listener)
        except OSError as error:
            raise ConfigError(f"service.listen: {listener} cannot be had: {error.strerror}") from error
        try:
            yield opened
        finally:
            if isinstance(listener, UnixListener):
                Path(listener.path).unlink(missing_ok=True)


def _bind(opened: socket.socket, listener: Listener) -> None:
    if isinstance(listener, UnixListener):
        path = Path(listener.path)
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _clear(path)
        opened.bind(listener.path)
        path.chmod(_MODE)  # nobody can connect before it listens
    else:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((listener.address, listener.port))
    opened.listen(_BACKLOG)


def _clear(path: Path) -> None:
    """Remove the socket of a service that has ended. Raises OSError when something else is there."""
    if not path.exists():
        return
    if not path.is_socket():
        raise OSError(errno.EEXIST, "there is a file that is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, "another program listens there")
