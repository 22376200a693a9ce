"""What Prometheus reads is what the journal knows, whoever ran it, and what this process saw."""

import subprocess
from collections.abc import Mapping
from contextlib import closing

import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.errors import JournalUnavailable
from orchestrator.journal import SqlJournal
from orchestrator.metrics import Events, History, render
from orchestrator.model import Coming, Job, Pausable, Pause, Quiesce
from tests.journals import NOW, StoppedClock, open_journal
from tests.metrics import HOUR, Configured, exposition, fill

Labels = tuple[str, ...]


def parsed(text: str) -> Mapping[str, Mapping[Labels, float]]:
    """The samples by name and by the values of their labels, which are sorted."""
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


@pytest.fixture
def journal(sqlite_url: str) -> SqlJournal:
    return open_journal(sqlite_url)


def test_what_the_journal_knows(journal: SqlJournal) -> None:
    with closing(journal):
        found = parsed(exposition(journal))
    assert found["quiesce_journal_up"] == {(): 1}
    assert found["quiesce_runs"] == {
        ("filesystem", "nightly", "done"): 1,
        ("none", "nightly", "failed"): 1,
        ("none", "nightly", "running"): 1,
        ("none", "nightly", "stuck"): 1,
        ("crash", "", "done"): 1,
    }
    assert found["quiesce_degraded_runs"] == {("nightly",): 0, ("by-hand",): 0}
    assert found["quiesce_frozen_seconds"] == {("db1",): 0, ("db2",): 93, ("db3",): 94, ("edge1",): 0}
    assert found["quiesce_stuck"] == {("db1",): 0, ("db2",): 0, ("db3",): 1, ("edge1",): 0}
    assert found["quiesce_longest_window_seconds"] == {("db1",): 0.12}
    began = (NOW - HOUR).timestamp()
    assert found["quiesce_last_good_run_timestamp_seconds"] == {("db1",): began, ("db2",): 0, ("db3",): 0}
    assert found["quiesce_next_run_timestamp_seconds"] == {("nightly",): (NOW + HOUR).timestamp()}


def test_what_the_process_saw(journal: SqlJournal) -> None:
    with closing(journal):
        found = parsed(exposition(journal))
    ended = found["quiesce_targets_ended_total"]
    assert sum(ended.values()) == 4
    assert ended["none", "nightly", "stuck"] == 1
    assert found["quiesce_freeze_seconds_count"] == {(): 5}
    assert found["quiesce_freeze_seconds_bucket"]["0.1",] == 5
    assert found["quiesce_freeze_seconds_bucket"]["0.05",] == 0
    assert found["quiesce_hold_seconds_sum"] == {(): 0.02}
    assert found["quiesce_thaw_seconds_count"] == {(): 3}
    assert found["quiesce_machines_seen"]["foreign",] == found["quiesce_machines_seen"]["thawed",] == 1
    assert found["quiesce_foreign_freeze"] == {("db1",): 0, ("edge1",): 1}
    assert found["quiesce_queue_length"] == {(): 3}
    assert found["quiesce_runs_at_work"] == {(): 2}
    assert found["process_resident_memory_bytes"][()] > 0


def test_a_run_is_degraded_only_when_its_job_wants_more(journal: SqlJournal) -> None:
    with closing(journal):
        fill(journal, Events())
        configured = Configured()
        wants, off = (
            Job("gone", (), "command", quiesce=Quiesce.PREFERRED),
            Job("gone", (), "command", quiesce=Quiesce.OFF),
        )
        for job, degraded in [(wants, 1), (off, 0)]:
            configured.jobs = {"gone": job}
            history = History(configured, journal, journal.statistics(), list, StoppedClock())
            assert parsed(render([history]).decode())["quiesce_degraded_runs"] == {("gone",): degraded}


def test_the_next_time_of_a_paused_job_is_not_told(journal: SqlJournal) -> None:
    pause = Pause(Pausable.JOB, "nightly", NOW, "root@host")
    with closing(journal):
        statistics, clock = journal.statistics(), StoppedClock()
        history = History(Configured(), journal, statistics, lambda: [Coming("nightly", (NOW,), pause)], clock)
        assert "quiesce_next_run_timestamp_seconds" not in parsed(render([history]).decode())


class Hands(StoppedClock):
    """Monotonic time is moved by hand."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def test_the_journal_is_read_anew_after_some_seconds_and_its_absence_is_told(
    journal: SqlJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Hands()
    history = History(Configured(), journal, journal.statistics(), list, clock)
    assert parsed(render([history]).decode())["quiesce_journal_up"] == {(): 1}
    fill(journal, Events())
    assert "quiesce_runs" not in parsed(render([history]).decode())
    clock.seconds += 6
    assert "quiesce_runs" in parsed(render([history]).decode())

    def away() -> None:
        raise JournalUnavailable("the disk is full")

    monkeypatch.setattr(journal, "open_runs", away)
    clock.seconds += 6
    found = parsed(render([history]).decode())
    assert found["quiesce_journal_up"] == {(): 0}
    assert "quiesce_frozen_seconds" not in found
    assert "process_resident_memory_bytes" in found
    journal.close()


def test_prometheus_own_tool_finds_nothing_wrong(journal: SqlJournal) -> None:
    with closing(journal):
        text = exposition(journal)
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
