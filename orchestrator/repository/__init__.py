"""Where backups are kept. What is visible in a repository is whole: it was summed, flushed, and renamed into place.

A backup needs nothing but its own files and those of its parents: the person who restores may have lost the host, the
journal and the configuration.
"""

from orchestrator.repository.folder import FolderRepository

__all__ = ["FolderRepository"]
