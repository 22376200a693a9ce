"""Consistent snapshots and backups of running QEMU/KVM guests: freeze, cut and thaw as one transaction."""
