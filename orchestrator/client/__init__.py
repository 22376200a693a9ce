"""The service of another host, or of another process of this one, asked over HTTP. The only room with httpx.

`Remote` makes for the command line what the wiring makes from a configuration file, over the API of a running service.
"""

from orchestrator.client.remote import Remote

__all__ = ["Remote"]
