"""The document of the crash matrix: each part is written by itself."""

from pathlib import Path

import pytest

from tests.matrix.document import DOCUMENT, part, read, write
from tests.tables import rows, table

TEXT = "# Head\n\n<!-- a: written -->\n\nold a\n\n<!-- end of a -->\n\n## B\n\n<!-- b: written -->\n<!-- end of b -->\n"
TABLE = table(["boundary", "seen"], [["the freeze is sent", "thawed"], ["x", "y"]])


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """A document with the parts a and b."""
    path = tmp_path / "reliability.md"
    path.write_text(TEXT)
    return path


def test_a_part_is_replaced_and_all_else_is_left(document: Path) -> None:
    write("a", "new a", document)
    assert document.read_text() == TEXT.replace("old a", "new a")
    write("b", TABLE, document)
    assert (read("a", document), read("b", document)) == ("new a", TABLE)


def test_to_write_the_same_again_changes_nothing(document: Path) -> None:
    write("b", TABLE, document)
    once = document.read_text()
    write("b", read("b", document), document)
    assert document.read_text() == once


def test_a_new_part_can_be_read_and_written_anew(document: Path) -> None:
    document.write_text(f"{TEXT}\n{part('c', 'a command', 'first')}\n")
    assert read("c", document) == "first"
    write("c", TABLE, document)
    assert read("c", document) == TABLE


def test_a_part_that_is_not_there_is_an_error(document: Path) -> None:
    with pytest.raises(LookupError, match="'c'"):
        write("c", "text", document)


def test_the_rows_of_a_table_can_be_read_again() -> None:
    text = f"before | not a row\n\n{TABLE}\n\nbetween\n\n{table(['only'], [['one']])}"
    assert rows(text) == [["the freeze is sent", "thawed"], ["x", "y"], ["one"]]


@pytest.mark.parametrize(
    "name",
    ["fake", "copies", "pruning", "bare", "bare recovery", "libvirt", "libvirt recovery", "libvirtd", "postgres"],
)
def test_the_document_has_its_parts_and_all_that_they_tell_of_held(name: str) -> None:
    assert "all held" in read(name, DOCUMENT)
