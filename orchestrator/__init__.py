"""Consistent snapshots of running QEMU/KVM guests: freeze, cut and thaw as one transaction."""
