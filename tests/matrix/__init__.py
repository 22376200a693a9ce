"""The crash matrix: everything ended at every boundary, with every fault, and what was seen written down.

`document` keeps `docs/reliability.md`: each part of it is a table that the tests of that part have written.
"""
