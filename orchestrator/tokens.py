"""The secrets that let somebody in over HTTP: made once, shown once, and kept as digests."""

import hashlib
import secrets

#: How they begin, for who finds one where it should not be.
_PREFIX = "quiesce_"


def new_secret() -> str:
    """The secret of a new token: 256 bits that nobody can guess."""
    return _PREFIX + secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """What is kept of a secret. It is random: whoever has its hash can search for it no better than without."""
    return hashlib.sha256(secret.encode(errors="backslashreplace")).hexdigest()
