"""Where notices go. What an address is, apprise knows; that it may hold a password, we do: nobody else sees it."""

import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import apprise

from orchestrator.clock import Clock, Deadline, Task
from orchestrator.errors import ConfigError
from orchestrator.model import Delivery, Notices

_LARGEST_FILE = 1024 * 1024
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,20}(?=://)", re.IGNORECASE)


@dataclass
class Address:
    """One address."""

    #: Where it stands in the configuration, and of which kind it is.
    name: str
    _apprise: apprise.Apprise
    _sending: Task[bool] | None = None

    def send(self, title: str, body: str, clock: Clock, deadline: Deadline) -> Delivery:
        """Send a message in plain text. Returns at the `deadline`; what goes on then is left behind, one at a time."""
        if self._sending is not None and not self._sending.wait(Deadline.after(clock, 0)):
            return Delivery(self.name, "the message before is still being sent")
        self._sending = Task(clock, f"notice to {self.name}", lambda: self._send(title, body))
        if not self._sending.wait(deadline):
            return Delivery(self.name, "no answer in time")
        if self._sending.error is not None:
            return Delivery(self.name, f"a defect ended it: {type(self._sending.error).__name__}")
        return Delivery(self.name, None if self._sending.result() else "it was not taken")

    def _send(self, title: str, body: str) -> bool:
        plain = apprise.NotifyFormat.TEXT  # so that it is escaped where the other side reads HTML or Markdown
        return bool(self._apprise.notify(body, title, apprise.NotifyType.WARNING, body_format=plain))


def addresses(notices: Notices, source: Path) -> Sequence[Address]:
    """The configured addresses. Raises ConfigError, which names what stands where, and never an address.

    `source` is the configuration file.
    """
    asset = apprise.AppriseAsset(app_id="quiesce", app_desc="quiesce", async_mode=False, secure_logging=True)
    found, problems = [], []
    for place, url in _urls(notices, source):
        scheme = _SCHEME.match(url)
        plugin = apprise.Apprise.instantiate(url, asset=asset) if scheme is not None else None
        if plugin is None or scheme is None:
            problems.append(f"{place}: {_wrong(scheme[0] if scheme else None)}")
        else:
            found.append(Address(f"{place} ({scheme[0].lower()})", apprise.Apprise(plugin, asset=asset)))
    if problems:
        raise ConfigError("\n".join(problems))
    return found


def _wrong(scheme: str | None) -> str:
    if scheme is None:
        return 'must be an address as apprise has them, such as "mailto://user:password@example.org"'
    if scheme.lower() not in apprise.plugins.N_MGR:
        return f"apprise knows no addresses that begin with {scheme}://"
    return f"apprise does not take this address: look up how those that begin with {scheme}:// are written"


def _urls(notices: Notices, source: Path) -> Iterator[tuple[str, str]]:
    """The addresses, each with where it stands."""
    for number, url in enumerate(notices.urls):
        yield f"{source}: notices.urls[{number}]", url
    if notices.urls_file is None:
        return
    for number, line in enumerate(_lines(Path(notices.urls_file), source), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield f"{notices.urls_file}: line {number}", line.strip()


def _lines(file: Path, source: Path) -> Sequence[str]:
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise ConfigError(f"{source}: notices.urls_file: {file} is not a regular file")
        with file.open("rb") as opened:
            return opened.read(_LARGEST_FILE).decode().splitlines()
    except OSError as error:
        raise ConfigError(f"{source}: notices.urls_file: {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{source}: notices.urls_file: {file} is not UTF-8") from None
