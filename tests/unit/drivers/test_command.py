"""The operator's own programs: whatever they do, the driver comes back in time and says what happened."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator.clock import Deadline, SystemClock
from orchestrator.drivers.command import Command
from orchestrator.errors import CallError, ConfigError, OutcomeUnknown, Rejected
from orchestrator.model import Machine
from orchestrator.ports import DriverContext
from orchestrator.programs import OUTPUT_LIMIT

PLAN = {"snapshot": "quiesce-r1"}


def command(**options: Any) -> Command:
    return Command(DriverContext(Machine("db1"), "nightly", "r1", options, None, SystemClock()))


def within(seconds: float) -> Deadline:
    return Deadline.after(SystemClock(), seconds)


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "job nightly: the driver command needs the option 'cut'"),
        (
            {"cut": ["true"], "cutt": ["x"]},
            "job nightly: the driver has no option 'cutt'; its options are cut, discard",
        ),
        ({"cut": "rm -rf /"}, "job nightly: the option 'cut' must be a list of strings"),
        ({"cut": []}, "job nightly: the option 'cut' must be a list"),
        ({"cut": ["true"], "verify": ["x", 1]}, "job nightly: the option 'verify' must be a list"),
    ],
)
def test_options_that_do_not_fit_are_named(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        command(**options)
    assert str(caught.value).startswith(says)


def test_a_program_that_is_missing_is_told_before_the_freeze(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no program")
    for missing in ("/no/such/program", str(tmp_path / "data"), "no-such-program"):
        with pytest.raises(Rejected, match=f"{missing} is missing or not executable"):
            command(cut=["true"], verify=[missing]).prepare(PLAN, within(30))


def test_a_program_that_cannot_be_executed_was_not_carried_out(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    with pytest.raises(Rejected, match=f"{broken} cannot be run: .*No such file"):
        command(cut=[str(broken)]).cut(PLAN, within(30))
    with pytest.raises(Rejected, match="echo cannot be run: embedded null byte"):
        command(cut=["echo", "\0"]).cut(PLAN, within(30))


def test_a_program_is_told_what_it_works_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARRAY_TOKEN", "inherited")
    says = 'echo "$QUIESCE_RUN $QUIESCE_MACHINE $QUIESCE_SNAPSHOT $ARRAY_TOKEN"'
    made = command(cut=shell(says)).cut(PLAN, within(30))
    assert made == {"output": "r1 db1 quiesce-r1 inherited"}


def test_a_program_has_no_input_and_no_shell() -> None:
    assert command(cut=["cat"]).cut(PLAN, within(30))["output"] == ""
    assert command(cut=["echo", "$HOME; ls"]).cut(PLAN, within(30))["output"] == "$HOME; ls"


def test_a_failure_is_told_with_status_and_last_words() -> None:
    with pytest.raises(Rejected, match="sh ended with status 3; it said: array is full"):
        command(cut=shell("echo array is full >&2; exit 3")).cut(PLAN, within(30))


def test_a_program_that_was_killed_by_somebody_may_have_cut() -> None:
    with pytest.raises(OutcomeUnknown, match="was ended by signal 9"):
        command(cut=shell("kill -9 $$")).cut(PLAN, within(30))


def test_only_the_end_of_a_flood_is_kept() -> None:
    made = command(cut=shell("head -c 9000000 /dev/zero | tr '\\0' x; echo; echo the end")).cut(PLAN, within(20))
    assert made["output"].endswith("x\nthe end")
    assert len(made["output"]) <= OUTPUT_LIMIT


def test_output_that_is_no_text_is_kept_as_far_as_it_is() -> None:
    assert command(cut=shell("printf 'a\\377b'")).cut(PLAN, within(30))["output"] == "a\ufffdb"


def test_a_child_that_keeps_the_output_open_holds_nobody_up() -> None:
    begun = time.monotonic()
    made = command(cut=shell("sleep 300 & echo $!")).cut(PLAN, within(30))
    assert time.monotonic() - begun < 60
    child = int(made["output"])
    assert not gone(child)  # it ended well, and what it left behind is its own affair
    os.kill(child, 9)


@pytest.mark.parametrize(
    "hangs",
    ["trap '' TERM INT HUP; sleep 600 & echo $$ $!; wait", "trap '' TERM; (sleep 600 & echo $$ $!; wait); sleep 600"],
    ids=["child", "grandchild"],
)
def test_a_hung_program_is_killed_with_its_children_and_may_have_cut(hangs: str) -> None:
    begun = time.monotonic()
    with pytest.raises(OutcomeUnknown, match="did not end in time and was killed; it said: ") as caught:
        command(cut=shell(hangs)).cut(PLAN, within(0.5))
    assert 0.5 <= time.monotonic() - begun < 30
    pids = [int(word) for word in str(caught.value).rpartition(":")[2].split()]
    assert len(pids) == 2
    deadline = within(30)
    while not all(gone(pid) for pid in pids):
        assert not deadline.passed, "a child outlived the deadline"


def test_a_program_that_floods_is_stopped_in_time_too() -> None:
    begun = time.monotonic()
    with pytest.raises(OutcomeUnknown, match="did not end in time"):
        command(cut=["yes"]).cut(PLAN, within(0.5))
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize(("status", "exists"), [(0, True), (1, False)])
def test_verify_says_whether_there_is_a_cut(status: int, exists: bool) -> None:
    made = command(cut=["true"], verify=shell(f"exit {status}")).happened(PLAN, within(30))
    assert (made is not None) == exists


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({}, Rejected, "no option 'verify'"),
        ({"verify": ["sh", "-c", "echo no route; exit 2"]}, OutcomeUnknown, "status 2; it said: no route"),
    ],
    ids=["absent", "status 2"],
)
def test_without_a_word_of_verify_it_stays_unknown(options: dict[str, Any], kind: type[CallError], said: str) -> None:
    with pytest.raises(kind, match=said):
        command(cut=["true"], **options).happened(PLAN, within(30))


def test_a_discard_that_fails_is_told() -> None:
    with pytest.raises(Rejected, match="status 1"):
        command(cut=["true"], discard=["false"]).discard(PLAN, within(30))


def test_no_file_descriptor_is_left_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for program in (["false"], ["/no/such/program"], ["sleep", "60"]):
        with pytest.raises((Rejected, OutcomeUnknown)):
            command(cut=program).cut(PLAN, within(0.2))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
