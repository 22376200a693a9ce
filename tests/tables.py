"""Tables in Markdown that can be read on a terminal too: what the tests measure and see is written down in them."""

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns as wide as what stands in them."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (head, rule, *rows)
    )


def rows(text: str) -> list[list[str]]:
    """The cells of every row of every table in `text`, without the heads."""
    lines = [[cell.strip() for cell in line[1:-1].split("|")] for line in text.splitlines() if line[:1] == "|"]
    rules = [number for number, cells in enumerate(lines) if set("".join(cells)) == {"-"}]
    heads = {number - 1 for number in rules}
    return [cells for number, cells in enumerate(lines) if number not in {*heads, *rules}]
