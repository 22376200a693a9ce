"""Where the service listens."""

from dataclasses import dataclass


@dataclass(frozen=True)
class UnixListener:
    """A socket in the file system, by its absolute path."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True)
class TcpListener:
    """A port of one of this host's addresses."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


Listener = UnixListener | TcpListener


@dataclass(frozen=True)
class Tls:
    """What proves to clients on the network who the service is: two PEM files, by their absolute paths."""

    certificate: str
    key: str
