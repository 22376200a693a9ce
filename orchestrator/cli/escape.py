"""Text from elsewhere, made safe for a terminal and for a line of output.

What a guest says can hold escape sequences that rewrite the screen, marks that turn the reading direction, and line
ends that forge a line of ours. Only what `str.isprintable` allows is kept; all else is shown by its code.
"""


def escape(text: str, limit: int = 500) -> str:
    """`text` on one line of printable characters, at most `limit` of them. Lone surrogates are shown, too."""
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text[: limit + 1]
    )
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."
