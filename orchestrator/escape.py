"""Text from elsewhere, made safe for a terminal and for a line of output.

What a guest says can hold escape sequences that rewrite the screen, marks that turn the reading direction, and line
ends that forge a line of ours. Only what can be seen is kept; all else is shown by its code.
"""

#: What `str.isprintable` allows and nobody sees: joiners, fillers and selectors (the rest of Unicode's
#: Default_Ignorable_Code_Point), and the blank among the braille patterns.
INVISIBLE = frozenset(map(chr, [0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0])) | frozenset(
    map(chr, [*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)])
)


def escape(text: str, limit: int = 500) -> str:
    """`text` on one line of visible characters and spaces, at most `limit` of them. Lone surrogates are shown, too."""
    shown = "".join(
        character if _is_visible(character) else character.encode("unicode_escape").decode("ascii")
        for character in text[: limit + 1]
    )
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


def _is_visible(character: str) -> bool:
    return character.isprintable() and character not in INVISIBLE
