"""A reply that does not fit its command is an error, never a value."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.agent import replies
from orchestrator.agent.channel import Misfit, Reader
from orchestrator.model import AgentInfo, ExecResult, Filesystem, FreezeStatus, OsInfo

READERS: dict[str, Reader[Any]] = {
    "nothing": replies.nothing,
    "count": replies.count,
    "freeze_status": replies.freeze_status,
    "info": replies.info,
    "osinfo": replies.osinfo,
    "filesystems": replies.filesystems,
    "process": replies.process,
    "ended": replies.ended,
}
MEMBERS = ["version", "supported_commands", "name", "enabled", "id", "mountpoint", "type"]
MEMBERS += ["pid", "exited", "exitcode", "out-data"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["frozen", "thawed"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(MEMBERS), inner),
    max_leaves=10,
)
FITTING: list[tuple[str, str, Any]] = [
    ("nothing", "{}", None),
    ("count", "0", 0),
    ("count", "2147483647", 2147483647),
    ("freeze_status", '"frozen"', FreezeStatus.FROZEN),
    (
        "info",
        '{"version": "7.2", "supported_commands": [{"name": "a", "enabled": true}, {"name": "b", "enabled": false}]}',
        AgentInfo("7.2", frozenset({"a"})),
    ),
    ("osinfo", "{}", OsInfo(None, None, None, None)),
    (
        "osinfo",
        '{"id": "debian", "name": "Debian", "version": "12", "kernel-release": "6.1"}',
        OsInfo("debian", "Debian", "12", "6.1"),
    ),
    ("filesystems", "[]", ()),
    (
        "filesystems",
        '[{"name": "vda", "mountpoint": "/", "type": "ext4", "disk": []}]',
        (Filesystem("/", "vda", "ext4"),),
    ),
    ("process", '{"pid": 4711}', 4711),
    ("ended", '{"exited": false}', None),
    ("ended", '{"exited": true, "exitcode": 3, "out-data": "aGk="}', ExecResult(3, b"hi", b"")),
    ("ended", '{"exited": true, "signal": 9, "err-data": "aGk="}', ExecResult(None, b"", b"hi")),
    ("ended", '{"exited": true, "exitcode": -1073741819}', ExecResult(-1073741819, b"", b"")),
]
TOO_MUCH = base64.b64encode(b"x" * (replies.MAX_OUTPUT + 3)).decode()
UNFIT = {
    "nothing": ["[]", "false", "0", '""', "null", '{"a": 1}'],
    "count": ["-1", "2147483648", "1e3", "1.0", "true", "false", '"1"', "null", "[1]", "{}"],
    "freeze_status": ['"Frozen"', '"error"', '""', "0", "true", "null", '["frozen"]', '"' + "x" * 100_000 + '"'],
    "info": [
        "[]",
        "{}",
        '{"version": "7.2"}',
        '{"version": 7, "supported_commands": []}',
        '{"version": "7.2", "supported_commands": {}}',
        '{"version": "7.2", "supported_commands": ["a"]}',
        '{"version": "7.2", "supported_commands": [{"name": "a", "enabled": 1}]}',
        '{"version": "7.2", "supported_commands": [{"name": null, "enabled": true}]}',
        json.dumps({"version": "x" * 257, "supported_commands": []}),
        json.dumps({"version": "x", "supported_commands": [{"name": "a", "enabled": True}] * 1_001}),
    ],
    "osinfo": ["[]", "null", '{"id": 1}', '{"name": null}', json.dumps({"version": "x" * 257})],
    "filesystems": [
        "{}",
        "[1]",
        "[{}]",
        '[{"name": "vda", "mountpoint": "/"}]',
        '[{"name": "vda", "mountpoint": 1, "type": "ext4"}]',
        json.dumps([{"name": "vda", "mountpoint": "/" * 4_097, "type": "ext4"}]),
        json.dumps([{"name": "vda", "mountpoint": "/", "type": "x" * 257}]),
        json.dumps([{"name": "vda", "mountpoint": "/", "type": "ext4"}] * 10_001),
    ],
    "process": ["1", "{}", '{"pid": -1}', '{"pid": true}', '{"pid": "1"}', '{"pid": 9223372036854775808}'],
    "ended": [
        "[]",
        "{}",
        '{"exited": 1}',
        '{"exited": "true"}',
        '{"exited": true, "exitcode": true}',
        '{"exited": true, "exitcode": 4294967296}',
        '{"exited": true, "exitcode": 0, "out-data": 1}',
        '{"exited": true, "exitcode": 0, "out-data": "a"}',
        '{"exited": true, "exitcode": 0, "out-data": "aGk=\\n"}',
        '{"exited": true, "exitcode": 0, "err-data": "\\u00e9"}',
        json.dumps({"exited": True, "exitcode": 0, "err-data": TOO_MUCH}),
    ],
}


@pytest.mark.parametrize(("reader", "reply", "value"), FITTING)
def test_a_reply_that_fits_has_its_value(reader: str, reply: str, value: Any) -> None:
    assert READERS[reader](json.loads(reply)) == value


@pytest.mark.parametrize(
    ("reader", "reply"), [(name, reply) for name, unfit in UNFIT.items() for reply in unfit], ids=lambda text: text[:60]
)
def test_a_reply_that_does_not_fit_is_told_shortly(reader: str, reply: str) -> None:
    with pytest.raises(Misfit) as caught:
        READERS[reader](json.loads(reply))
    assert 0 < len(str(caught.value)) < 120


@pytest.mark.parametrize("reader", READERS)
@given(value=JSON)
def test_any_reply_is_a_value_or_a_misfit(reader: str, value: Any) -> None:
    try:
        READERS[reader](value)
    except Misfit as misfit:
        assert str(misfit)
