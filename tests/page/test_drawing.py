"""What is drawn is to scale: the bars are where the steps were."""

from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.answers import Window
from orchestrator.model import Action, Machine, Outcome, Run, State, Step, Target, Trigger
from orchestrator.web.page import figures
from orchestrator.web.page.chart import chart
from orchestrator.web.page.held import held
from orchestrator.web.page.timeline import timeline
from tests.journals import NOW
from tests.page.past import GOOD, OWNER, steps

END = NOW + timedelta(seconds=96)


def a_run(*found: Step, state: State = State.DONE) -> Run:
    target = Target(Machine("vm"), state)
    return Run("r1", None, Trigger.MANUAL, OWNER, NOW, (target,), state, finished_at=END, steps=found)


def test_a_run_is_drawn_to_scale_and_its_window_larger() -> None:
    drawn = timeline(a_run(*steps("vm", NOW)), "vm")
    assert drawn is not None
    assert drawn.window is not None
    assert [row.phase for row in drawn.whole.rows] == ["prepare", "window", "copy"]
    assert [(row.phase, round(row.took_ms, 3)) for row in drawn.window.rows] == [
        ("freeze", 31.0),
        ("hold", 21.5),
        ("cut", 14.0),
        ("thaw", 7.2),
    ]
    [window] = drawn.whole.rows[1].bars
    assert (window.begin, window.end) == (drawn.window.begin, drawn.window.end)
    length = drawn.whole.end - drawn.whole.begin
    assert drawn.whole.percent(window.end) - drawn.whole.percent(window.begin) == pytest.approx(5.41 / length, abs=0.01)
    assert drawn.window.percent(drawn.window.begin) == 0
    assert drawn.window.percent(drawn.window.rows[0].bars[0].end) == pytest.approx(100 * 31 / 54.1, abs=0.01)
    assert [word for _, word in drawn.window.ticks] == ["0", "20 ms", "40 ms"]


def test_without_a_freeze_there_is_no_window() -> None:
    drawn = timeline(a_run(*steps("vm", NOW, GOOD[:2])), "vm")
    assert drawn is not None
    assert drawn.window is None
    assert [row.phase for row in drawn.whole.rows] == ["prepare"]
    assert timeline(a_run(), "vm") is None


def test_steps_of_another_process_are_placed_by_the_clock_on_the_wall() -> None:
    begun = steps("vm", NOW, GOOD[:4])
    thaw = Step("vm", Action.THAW, Outcome.DONE, NOW + timedelta(seconds=60), 7.0, 5.0)  # after a restart of the host
    drawn = timeline(a_run(*begun, thaw), "vm")
    assert drawn is not None
    assert drawn.window is not None
    assert drawn.window.end - drawn.whole.begin == pytest.approx(60)


def test_the_window_ends_with_the_confirmed_thaw_and_not_with_the_watch_that_follows() -> None:
    watched = Step("vm", Action.CONFIRM, Outcome.DONE, NOW + timedelta(seconds=9), 509.0, 1.0)
    begun = steps("vm", NOW, GOOD[:7])
    drawn, without = timeline(a_run(*begun, watched), "vm"), timeline(a_run(*begun), "vm")
    assert drawn is not None
    assert without is not None
    assert drawn.window == without.window
    assert [row.phase for row in drawn.whole.rows] == ["prepare", "window", "after"]


def test_what_retention_does_weeks_later_does_not_shrink_the_drawing() -> None:
    removal = Step("vm", Action.REMOVE, Outcome.DONE, NOW + timedelta(days=30), 9.0, 5.0)
    drawn = timeline(a_run(*steps("vm", NOW), removal), "vm")
    assert drawn == timeline(a_run(*steps("vm", NOW)), "vm")


def test_a_step_that_took_no_time_can_be_drawn() -> None:
    drawn = timeline(a_run(Step("vm", Action.PREFLIGHT, Outcome.DONE, NOW, 9.0, 0.0)), "vm")
    assert drawn is not None
    assert drawn.whole.ticks[0] == (0, "0")


def test_the_windows_of_a_machine_stand_side_by_side_to_scale() -> None:
    assert chart([]) is None
    drawn = chart([Window(f"r{number}", NOW, State.DONE, 10.0 * number, 5.0) for number in range(1, 5)])
    assert drawn is not None
    assert [bar.top for bar in drawn.bars] == [75.0, 50.0, 25.0, 0.0]
    assert [bar.hold_top for bar in drawn.bars] == [87.5] * 4
    assert [word for _, word in drawn.ticks] == ["10 ms", "20 ms", "30 ms", "40 ms"]
    assert drawn.bars[0].left + drawn.bars[0].width < drawn.bars[1].left


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [
        (None, ""),
        (0.0, "0 ms"),
        (0.123, "0.12 ms"),
        (1.2, "1.20 ms"),
        (52.64, "52.6 ms"),
        (999.4, "999 ms"),
        (999.6, "1.00 s"),
        (92_400.0, "92.4 s"),
        (125_000.0, "2 min 05 s"),
        (7_500_000.0, "2 h 05 min"),
    ],
)
def test_a_duration_has_three_digits_that_count(milliseconds: float | None, shown: str) -> None:
    assert figures.duration(milliseconds) == shown


def test_a_round_duration_has_no_more_digits_than_it_needs() -> None:
    told = [figures.round_duration(each) for each in (0, 0.5, 20.0, 500.0, 1000.0, 20_000.0, 60_000.0, 120_000.0)]
    assert told == ["0", "0.5 ms", "20 ms", "500 ms", "1 s", "20 s", "60 s", "2 min"]


def test_a_time_is_told_from_now() -> None:
    seconds = (0, 1, 119, 120, 7199, 7200, 172_800)
    told = [figures.ago(NOW - timedelta(seconds=each), NOW) for each in seconds]
    assert told == ["0 s ago", "1 s ago", "119 s ago", "2 min ago", "119 min ago", "2 h ago", "2 d ago"]
    assert figures.ago(NOW + timedelta(hours=5), NOW) == "in 5 h"


def test_what_is_done_to_a_machine_follows_from_its_steps() -> None:
    made = steps("vm", NOW)
    seen = {}
    for count in range(len(made) + 1):
        run = replace(a_run(*made[:count], state=State.RUNNING), finished_at=None)
        [each] = held([run])
        seen[each.doing] = (each.frozen, each.since)
    freeze = made[3].at
    assert list(seen) == [
        *("waiting", "after preflight", "after prepare", "after flush"),
        *("freeze", "after confirm", "after copy", "after publish"),
    ]
    assert seen["freeze"] == (True, freeze)
    assert not seen["after confirm"][0]
    assert not list(held([a_run(*made)]))
