"""What the journal keeps of those who ask over HTTP, on each engine."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.journal import SqlJournal
from orchestrator.model import Deed, Request, Role, State, Token
from orchestrator.ports import Audit, Tokens
from tests.fakes.access import MemoryAudit, MemoryTokens
from tests.journals import NOW, a_run, open_journal

TOKEN = Token("ci", Role.VIEWER, NOW, "root@host", NOW + timedelta(days=90))
DEED = Deed(NOW, "token ci", "127.0.0.1", "POST /api/v1/runs", "nightly", 202)


ENGINES = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(params=[*ENGINES, "memory"])
def access(request: pytest.FixtureRequest) -> Iterator[tuple[Tokens, Audit]]:
    """An empty memory of each kind in turn."""
    if request.param == "memory":
        yield MemoryTokens(), MemoryAudit()
        return
    with closing(open_journal(request.getfixturevalue(f"{request.param}_url"))) as opened:
        yield opened.tokens(), opened.audit()


@pytest.fixture
def tokens(access: tuple[Tokens, Audit]) -> Tokens:
    return access[0]


@pytest.fixture
def audit(access: tuple[Tokens, Audit]) -> Audit:
    return access[1]


@pytest.fixture(params=ENGINES)
def journal(request: pytest.FixtureRequest) -> Iterator[SqlJournal]:
    """An empty journal on each engine in turn."""
    with closing(open_journal(request.getfixturevalue(f"{request.param}_url"))) as opened:
        yield opened


def test_a_token_is_found_by_the_digest_of_its_secret_alone(tokens: Tokens) -> None:
    assert tokens.create(TOKEN, "abc")
    assert tokens.find("abc") == TOKEN
    assert tokens.find("ab") is None
    assert tokens.find("ci") is None


def test_a_name_is_given_once_for_ever(tokens: Tokens) -> None:
    assert tokens.create(TOKEN, "abc")
    assert tokens.revoke("ci", NOW)
    assert not tokens.create(replace(TOKEN, role=Role.ADMIN), "def")
    assert tokens.all() == [replace(TOKEN, revoked_at=NOW)]
    assert tokens.find("def") is None


def test_a_token_is_revoked_once(tokens: Tokens) -> None:
    tokens.create(TOKEN, "abc")
    tokens.create(replace(TOKEN, name="other"), "def")
    assert tokens.revoke("ci", NOW)
    assert not tokens.revoke("ci", NOW + timedelta(days=1))
    assert not tokens.revoke("nobody", NOW)
    assert [token.revoked_at for token in tokens.all()] == [NOW, None]


def test_deeds_are_told_newest_first_and_forgotten_by_age(audit: Audit) -> None:
    deeds = [replace(DEED, at=NOW + timedelta(days=day), subject=f"\x00\x1b[31m{day}") for day in range(3)]
    for deed in deeds:
        audit.record(deed)
    assert audit.newest(2) == [deeds[2], deeds[1]]
    assert audit.forget(deeds[1].at) == 1
    assert audit.newest(9) == [deeds[2], deeds[1]]


def test_a_key_means_its_first_request_whoever_comes_at_the_same_time(journal: SqlJournal) -> None:
    requests = journal.requests()
    asked = [Request("key", "{}", f"r{number}", NOW) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(requests.claim, asked))
    assert len(found) == 1
    assert found < set(asked)
    assert requests.claim(Request("other", "{}", "r9", NOW)).run_id == "r9"


def test_a_key_is_forgotten_with_its_run(journal: SqlJournal) -> None:
    run = journal.open_run(a_run("r1", "db1"))
    journal.move(run, replace(run.targets[0], state=State.FAILED), [])
    journal.requests().claim(Request("key", "{}", "r1", NOW))
    assert journal.statistics().forget(NOW + timedelta(days=1)) == 1
    assert journal.requests().claim(Request("key", "{}", "r2", NOW)).run_id == "r2"
