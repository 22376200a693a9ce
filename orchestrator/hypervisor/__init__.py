"""Machines seen from outside, through libvirt or QEMU's own monitor: the only room that knows either."""
