"""What an operator may send to the agent by hand: whatever the spelling, nothing that freezes, thaws or powers."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ConfigError
from orchestrator.operating import raw


def test_a_command_is_taken_apart() -> None:
    assert raw.parse('{"execute": "guest-ping"}') == ("guest-ping", {})
    request = '{"execute": "guest-exec-status", "arguments": {"pid": 3, "x": [1.5, null, {"y": true}]}}'
    assert raw.parse(request) == ("guest-exec-status", {"pid": 3, "x": [1.5, None, {"y": True}]})


@given(command=st.sampled_from(sorted(raw.FORBIDDEN)), data=st.data())
def test_a_forbidden_command_is_seen_however_it_is_spelled(command: str, data: st.DataObject) -> None:
    spelled = "".join(
        f"\\u{ord(letter):04x}" if data.draw(st.booleans(), label="escaped") else letter for letter in command
    )
    space = data.draw(st.text(" \t\n\r", max_size=3), label="space")
    for request in (
        f'{space}{{{space}"execute"{space}:{space}"{spelled}"}}{space}',
        f'{{"arguments": {{}}, "\\u0065xecute": "{spelled}"}}',
    ):
        with pytest.raises(ConfigError, match=rf"{command} is not sent by hand; use `quiesce "):
            raw.parse(request)


@pytest.mark.parametrize(
    "request_",
    [
        *("", "guest-ping", "[]", "null", '"guest-ping"', "{}", '{"execute": 3}', '{"execute": ["guest-ping"]}'),
        '{"execute": "guest-ping"} {"execute": "guest-shutdown"}',
        '{"execute": "guest-ping", "execute": "guest-shutdown"}',
        '{"execute": "guest-ping", "exec-oob": "guest-shutdown"}',
        '{"execute": "guest-ping", "id": 1}',
        '{"execute": "guest-ping", "arguments": []}',
        '{"execute": "guest-shutdown\\u0000"}',
        '{"execute": "guest-shutdown "}',
        '{"execute": ""}',
        '{"a":' * 100_000,
    ],
)
def test_what_is_not_one_command_is_a_mistake(request_: str) -> None:
    with pytest.raises(ConfigError):
        raw.parse(request_)


@given(st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.dictionaries(st.text(), inner)))
def test_nothing_else_is_raised(document: object) -> None:
    for request in (json.dumps(document), json.dumps({"execute": document}), str(document)):
        try:
            command, _ = raw.parse(request)
        except ConfigError:
            continue
        assert command not in raw.FORBIDDEN
