"""Notices to people: by mail, chat or whatever apprise knows. The only room that knows it.

A run hands its notices over and goes on. One thread decides what is news, gathers what comes within a few seconds into
one message, and sends it; an address that does not answer costs nobody anything but this thread's patience.
"""
