"""`quiesce token` and `quiesce audit`."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.clock import SystemClock
from orchestrator.model import Role
from orchestrator.tokens import digest_of
from tests.unit.cli.stub import Stub, quiesce


def document(stub: Stub, *words: str) -> Any:
    result = quiesce(stub, *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_token_s_secret_is_shown_once_and_only_its_digest_is_kept() -> None:
    stub = Stub()
    made = document(stub, "token", "create", "--name", "ci", "--role", "operator", "--expires", "90d")
    [(token, digest)] = stub.given.known.values()
    assert (token.name, token.role) == ("ci", Role.OPERATOR)
    assert token.expires_at == token.created_at + timedelta(days=90)
    assert digest == digest_of(made["secret"])
    assert re.fullmatch("quiesce_[A-Za-z0-9_-]{43}", made["secret"])
    assert made["secret"] not in quiesce(stub, "token", "list", "--json").stdout


def test_the_secret_is_alone_on_its_line_for_people() -> None:
    result = quiesce(Stub(), "token", "create", "--name", "ci", "--role", "viewer")
    assert "quiesce_" in result.stdout


def test_a_name_is_given_once_and_a_token_revoked_once() -> None:
    stub = Stub()
    create = ["token", "create", "--name", "ci", "--role", "viewer"]
    document(stub, *create)
    assert document(stub, "token", "revoke", "ci") == {"revoked": "ci"}
    [token] = document(stub, "token", "list")
    assert (token["holds"], token["expires_at"]) == (False, None)
    assert quiesce(stub, *create).exit_code == 2
    assert quiesce(stub, "token", "revoke", "ci").exit_code == 2
    assert not stub.given.all()[0].holds(SystemClock().now())


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 65, "\x1b[31m"])
def test_a_token_has_a_name_that_can_be_seen(name: str) -> None:
    result = quiesce(Stub(), "token", "create", "--name", name, "--role", "viewer")
    assert result.exit_code == 2
    assert "a token's name is up to 64 visible characters" in result.stderr


def test_who_made_and_revoked_tokens_is_audited() -> None:
    stub = Stub()
    document(stub, "token", "create", "--name", "ci", "--role", "viewer")
    document(stub, "token", "revoke", "ci")
    deeds = document(stub, "audit")
    assert [(deed["act"], deed["subject"], deed["origin"]) for deed in deeds] == [
        ("token revoke", "ci", "this host"),
        ("token create", "ci", "this host"),
    ]
    assert len(document(stub, "audit", "--limit", "1")) == 1
