"""One QMP monitor, asked synchronously: QEMU's own library on a private event loop, never without a deadline."""

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from qemu.qmp import ExecuteError, QMPClient

from orchestrator.clock import Deadline
from orchestrator.errors import OutcomeUnknown, Rejected, Unreachable

T = TypeVar("T")

#: Seconds to say goodbye to a monitor; after that its connection is just closed.
FAREWELL_LIMIT = 1.0

# The library logs as an error whatever it raises; here all of that is raised once more, and told by whoever catches it.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)


class Monitor:
    """The QMP monitor at a unix socket.

    It connects when first used and keeps the connection, because QEMU serves one client at a time and the cut must not
    wait for a place. After a call whose answer did not come, the next call connects anew: QEMU drops what it had queued
    of a client that is gone, so the answer to a later question tells whether the lost call was carried out.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._busy = threading.Lock()
        self._loop: asyncio.Runner | None = None
        self._client: QMPClient | None = None

    def execute(self, command: str, arguments: Mapping[str, Any], deadline: Deadline) -> Any:
        """Send one command (docs/interop/qmp-spec in QEMU) and return what it returned.

        Raises Unreachable when nothing was sent, Rejected when QEMU answered with an error, OutcomeUnknown when no
        answer came, or none that is QMP.
        """
        if not self._busy.acquire(timeout=deadline.remaining()):
            raise Unreachable(f"{command}: another call holds the monitor {self._path}")
        try:
            return self._run(self._converse(command, arguments, deadline))
        except (Unreachable, OutcomeUnknown):
            self._disconnect()
            raise
        finally:
            self._busy.release()

    def ask(self, command: str, meaning: Callable[[Any], T], deadline: Deadline, **arguments: object) -> T:
        """What `meaning` makes of a reply; one that does not fit its command is an error, not a value."""
        reply = self.execute(command, arguments, deadline)
        try:
            return meaning(reply)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise OutcomeUnknown(f"the reply to {command} does not fit it: {type(error).__name__}: {error}") from error

    def await_event(self, names: Collection[str], deadline: Deadline) -> str | None:
        """The first event of these that QEMU has told since the last command was begun; None when none came in time.

        Raises OutcomeUnknown when QEMU has gone, or the connection is lost.
        """
        with self._busy:
            return self._run(_await_event(self._client, names, deadline)) if self._client is not None else None

    def close(self) -> None:
        """Let go of the monitor, so that QEMU serves its next client. Waits for a call that is on its way."""
        with self._busy:
            self._disconnect()

    async def _converse(self, command: str, arguments: Mapping[str, Any], deadline: Deadline) -> Any:
        client = await self._connected(deadline)
        client.events.clear()  # those of the time before this command are nobody's
        try:
            return await asyncio.wait_for(client.execute(command, arguments), deadline.remaining())
        except ExecuteError as error:
            raise Rejected(f"QEMU refused {command}: {error}") from error
        except TimeoutError as error:
            raise OutcomeUnknown(f"QEMU did not answer {command} at {self._path} in time") from error
        except Exception as error:  # whatever a broken peer makes of the library
            raise OutcomeUnknown(f"QEMU's answer to {command} at {self._path} was lost: {_name(error)}") from error

    async def _connected(self, deadline: Deadline) -> QMPClient:
        if self._client is None:
            self._client = QMPClient()
            try:
                await asyncio.wait_for(self._client.connect(self._path), deadline.remaining())
            except TimeoutError as error:
                raise Unreachable(
                    f"the monitor at {self._path} does not answer; it serves one client at a time, maybe another one"
                ) from error
            except Exception as error:  # whatever a broken peer makes of the library
                raise Unreachable(f"cannot use the monitor at {self._path}: {_name(error)}") from error
        return self._client

    def _run(self, work: Any) -> Any:
        if self._loop is None:
            self._loop = asyncio.Runner()
        return self._loop.run(work)

    def _disconnect(self) -> None:
        if self._client is not None:
            self._run(_farewell(self._client))
            self._client = None
        if self._loop is not None:
            self._loop.close()
            self._loop = None


async def _await_event(client: QMPClient, names: Collection[str], deadline: Deadline) -> str | None:
    gone = asyncio.ensure_future(client.runstate_changed())
    try:
        while True:
            told = asyncio.ensure_future(client.events.get())
            await asyncio.wait({told, gone}, timeout=deadline.remaining(), return_when=asyncio.FIRST_COMPLETED)
            if not told.done():
                told.cancel()
                if gone.done():
                    raise OutcomeUnknown("QEMU has closed its monitor: it has ended, or was ended")
                return None
            name = str(told.result()["event"])
            if name in names:
                return name
    finally:
        gone.cancel()


async def _farewell(client: QMPClient) -> None:
    try:
        await asyncio.wait_for(client.disconnect(), FAREWELL_LIMIT)
    except Exception as error:  # noqa: BLE001 - the reason was told already; what is left is closed with the loop
        logging.getLogger(__name__).debug("disconnect: %s", error)


def _name(error: Exception) -> str:
    """What a library's error says, or at least what it is: some say nothing."""
    return str(error) or type(error).__name__
