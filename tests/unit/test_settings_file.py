"""The configuration file as a file: whatever it holds, it is read or refused with one error."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import settings
from orchestrator.errors import ConfigError
from orchestrator.settings.tables import JobTable

DRIVERS = ("external-snapshot", "command")
SOURCE = Path("quiesce.toml")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x = 1\ny = \n", "not valid TOML: Invalid value (at line 2, column 5)"),
        (b"x = " + b"[" * 5000, "its arrays or tables are nested too deeply"),
        (b"x = " + b"9" * 5000, "not valid TOML: "),
        (b'x = "\xff"', "not UTF-8: invalid start byte at byte 5"),
        (b"#" * (settings.LARGEST_FILE + 1), "larger than 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "quiesce.toml"
    path.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        settings.load(path, DRIVERS)

    assert str(caught.value).startswith(f"{path}: {said}")


def test_a_path_that_is_no_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    for path, said in [
        (tmp_path / "none", "No such file or directory"),
        (tmp_path, "not a regular file"),
        (pipe, "not a regular file"),
        (tmp_path / ("x" * 300), "File name too long"),
    ]:
        with pytest.raises(ConfigError, match=said):
            settings.load(path, DRIVERS)


@pytest.mark.skipif(os.geteuid() != 0, reason="changes its user")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "quiesce.toml"
    path.touch(mode=0o000)
    os.seteuid(65534)
    try:
        with pytest.raises(ConfigError, match="Permission denied"):
            settings.load(path, DRIVERS)
    finally:
        os.seteuid(0)


KEYS = st.sampled_from(
    [
        *("journal", "hypervisors", "machines", "jobs", "service", "a", "b", "[key]", "", "\n", "keep", "retention"),
        *("url", "uri", "hypervisor", "domain", "agent", "qmp", *JobTable.model_fields),
    ]
)
VALUES = st.recursive(
    st.none().map(lambda _: "")
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.datetimes()
    | st.dates()
    | st.times()
    | st.text(max_size=20)
    | st.sampled_from(["a", "*", "[", "unix:/a", "command", "1h", "* * * * *", "sqlite:////a", "qemu:///system"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            key: st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=4) | VALUES, max_size=3) | VALUES
            for key in ("journal", "hypervisors", "machines", "jobs", "x")
        },
    )
)
def test_no_document_does_worse_than_a_config_error(anything: dict[str, Any]) -> None:
    try:
        settings.from_document(anything, SOURCE, DRIVERS)
    except ConfigError as error:
        assert all(line.startswith("quiesce.toml: ") and line.isprintable() for line in str(error).split("\n"))
