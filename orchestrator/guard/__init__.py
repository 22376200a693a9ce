"""The guard: a small process that thaws when the orchestrator cannot. Both ends of the socket between the two.

The orchestrator's end is `leases.ProcessGuard`. The guard's own end is `watch`, which `orchestrator.guard_main` runs in
a process of its own: nothing in this room thaws. Why it is so: docs/decisions/0007-guard.md.
"""
