"""`make bench`: what a guest's application feels of a snapshot, beside the peer, and what the program adds of its own.

Contenders of one kind of guest share one guest and take turns (A B C A B C ...), and after each cut its overlays are
committed back into the files that it booted from, so that all meet the same machine, in the same minute, on chains of
equal length. A guest that is not being measured runs nothing.
"""
