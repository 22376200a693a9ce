"""Where the command `quiesce` begins: it takes a moment to load, and Ctrl-C may come in it."""

import signal


def main() -> None:
    """Load the program and run it. Until it is loaded, Ctrl-C ends it at once, without a word: nothing has begun."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # and is not ignored, as in the background of a shell
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from orchestrator.main import main

    signal.signal(signal.SIGINT, handler)
    main()
