"""Cron expressions: what is right, what it means, and what is said about a wrong one."""

import pytest

from orchestrator import cron


@pytest.mark.parametrize(
    "expression",
    [
        "0 2 * * *",
        "*/15 0-6/2,22 1,15 jan-mar,DEC mon-fri",
        "0 0 * * 7",
        "59 23 31 12 0",
        "0 0 29 2 *",
        "0 0 31 2 mon",
        "5-5 * * * sun",
    ],
)
def test_a_right_cron_expression(expression: str) -> None:
    assert cron.parse(expression).minutes


def test_what_an_expression_means() -> None:
    assert cron.parse("*/20 0-6/3,22 1,15 jan-mar,DEC mon-fri") == cron.Cron(
        minutes=frozenset({0, 20, 40}),
        hours=frozenset({0, 3, 6, 22}),
        days=frozenset({1, 15}),
        months=frozenset({1, 2, 3, 12}),
        weekdays=frozenset({0, 1, 2, 3, 4}),
    )


@pytest.mark.parametrize("sunday", ["0", "7", "sun"])
def test_sunday_has_three_names(sunday: str) -> None:
    parsed = cron.parse(f"0 0 * * {sunday}")

    assert (parsed.days, parsed.weekdays) == (None, frozenset({6}))


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("@daily", "it has 1 fields and not 5"),
        ("0 2 * * * *", "it has 6 fields and not 5"),
        ("60 * * * *", "its minute '60' is not 0-59"),
        ("0 24 * * *", "its hour '24' is not 0-23"),
        ("0 0 0 * *", "its day of the month '0' is not 1-31"),
        ("0 0 * 13 *", "its month '13' is not 1-12 or jan-dec"),
        ("0 0 * * 8", "its day of the week '8' is not 0-7 or mon-sun"),
        ("0 0 * * foo", "its day of the week 'foo' is not 0-7 or mon-sun"),
        ("0 0 mon * *", "its day of the month 'mon' is not 1-31"),
        ("9-8 * * * *", "its minute '9-8' runs backwards"),
        ("*/0 * * * *", "its minute '*/0' has a step that is not from 1 to 59"),
        ("0 */24 * * *", "its hour '*/24' has a step that is not from 1 to 23"),
        ("5/2 * * * *", "its minute '5/2' is not *, a value or a range"),
        ("1,,2 * * * *", "its minute '' is not *, a value or a range"),
        ("-1 * * * *", "its minute '-1' is not *, a value or a range"),
        ("0 0 L * *", "its day of the month 'l' is not"),
        ("\u0665 * * * *", "its minute '\u0665' is not *, a value or a range"),
        ("0 0 30,31 2 *", "it names a date that never comes"),
    ],
)
def test_a_wrong_cron_expression(expression: str, said: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        cron.parse(expression)

    assert said in str(caught.value)
