"""The crash matrix: everything ended at every boundary, with every fault, and what was seen written down.

`boundaries` finds them by recording a run, `plan` combines them, and `case` lets one of them happen in the simulation.
`pruning` does the same to what removes and merges.
`guests` lets one happen on a real guest, to the command as `doomed` ends it; `test_guests` tries them, several at once
by `rounds`, and `test_servers` kills what a run needs beside its guest.
`document` keeps `docs/reliability.md`: each part of it is a table that the tests of that part have written.
"""
