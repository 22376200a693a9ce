"""Who is logged in to the page: in memory, so that the end of the service logs everybody out."""

import secrets
import threading
from collections import OrderedDict

from orchestrator.clock import Clock

#: Seconds after which a session ends, whatever is done in it.
LASTS = 12 * 3600.0
#: Sessions at once; one more ends the oldest.
_MOST = 1000


class Sessions:
    """Sessions, each begun with a token. They end with it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._open: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def begin(self, digest: str) -> str:
        """Begin a session of the token with this digest; return the secret by which it is known."""
        secret = secrets.token_urlsafe(32)
        with self._lock:
            self._open[secret] = digest, self._clock.monotonic() + LASTS
            if len(self._open) > _MOST:
                self._open.popitem(last=False)
        return secret

    def token(self, secret: str) -> str | None:
        """The digest of the session's token; None when there is no such session any more."""
        with self._lock:
            digest, until = self._open.get(secret, (None, 0.0))
            return digest if self._clock.monotonic() < until else None

    def end(self, secret: str) -> None:
        """End a session."""
        with self._lock:
            self._open.pop(secret, None)
