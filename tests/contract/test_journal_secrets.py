"""No error of the journal tells a password, or what was to be written; each tells which journal it was."""

import traceback
from dataclasses import replace

import pytest
from sqlalchemy import make_url

from orchestrator.errors import ConfigError, JournalError, JournalUnavailable
from orchestrator.journal import SqlJournal
from tests.journals import a_run, a_step, open_journal
from tests.postgres import PASSWORD, Cluster

SECRET = "s3cret"  # noqa: S105 - it opens nothing


@pytest.mark.parametrize(
    "url",
    [
        "",
        "journal.db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite+aiosqlite:///journal.db",
        "mysql://root:{}@host/journal",
        "nonsense://root:{}@host/journal",
        "postgresql+asyncpg://quiesce:{}@host/journal",
        "postgresql://quiesce:{}@host:port/journal",
        "postgresql://quiesce:{}@host:9x/journal?password={}",
    ],
)
def test_a_url_that_cannot_hold_a_journal_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_journal(url.format(SECRET, SECRET))
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.postgres
def test_no_error_tells_a_password(postgres: Cluster, postgres_url: str) -> None:
    refused = [
        make_url(postgres_url).set(password=SECRET),
        make_url(postgres_url).set(password=SECRET, query={"host": "/nowhere", "password": SECRET}),
        make_url(postgres_url).set(password=SECRET, host="localhost", port=1, query={"sslpassword": SECRET}),
        make_url(postgres_url).set(database="missing"),
        make_url(postgres_url).update_query_dict({"unknown": SECRET}),
    ]
    for url in refused:
        with pytest.raises(JournalUnavailable) as caught:
            open_journal(url.render_as_string(hide_password=False))
        told = "".join(traceback.format_exception(caught.value))
        assert "postgresql+psycopg://quiesce:***@" in str(caught.value)
        assert SECRET not in told
        assert PASSWORD not in told


def test_no_error_tells_what_was_to_be_written(journal: SqlJournal) -> None:
    run = journal.open_run(a_run("r1", "db1"))
    with pytest.raises(JournalError) as caught:
        journal.record(run, [replace(a_step("db9"), figures={"token": SECRET})])
    assert SECRET not in "".join(traceback.format_exception(caught.value))
