"""`docs/reliability.md`: what is tried and what *held* means in its head, and parts that the tests write.

A part stands between two comments that bear its name. Whoever writes one leaves everything else as it is, so that
the parts can be written on different days, and on different hosts.
"""

import re
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"


def read(part: str, document: Path = DOCUMENT) -> str:
    """What stands in a part. Raises LookupError when the document has no such part."""
    return _find(part, document.read_text()).group("text").strip()


def write(part: str, text: str, document: Path = DOCUMENT) -> None:
    """Let `text`, as Markdown, be all that stands in a part. Raises LookupError when the document has no such part."""
    whole = document.read_text()
    found = _find(part, whole)
    begin, end = found.span("text")
    document.write_text(f"{whole[:begin]}\n\n{text.strip()}\n\n{whole[end:]}")


def part(name: str, command: str, text: str) -> str:
    """A new part for a document, which that command writes."""
    return f"<!-- {name}: written by `{command}` -->\n\n{text.strip()}\n\n<!-- end of {name} -->"


def _find(part: str, whole: str) -> re.Match[str]:
    name = re.escape(part)
    found = re.search(rf"<!-- {name}: [^>]*-->(?P<text>.*?)<!-- end of {name} -->", whole, re.DOTALL)
    if found is None:
        raise LookupError(f"the document has no part {part!r}")
    return found
