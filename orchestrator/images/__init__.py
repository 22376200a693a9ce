"""What is done with the images of a backup, each by the tool that is made for it and in a process of its own.

What guests have written reaches parsers here: those of images, of partition tables, of file systems. None is mounted,
so that they do not reach the host's kernel.
"""

from orchestrator.images.qemu import QemuImages

__all__ = ["QemuImages"]
