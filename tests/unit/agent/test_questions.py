"""What an operator asks: each answer has the members of its question, and a reply that does not fit is an error."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.acts import Question
from orchestrator.agent.channel import Misfit
from orchestrator.agent.questions import QUESTIONS

FITTING: list[tuple[Question, Any, Any]] = [
    (Question.PING, {}, {"answers": True}),
    (
        Question.INFO,
        {"version": "7.2", "supported_commands": [{"name": "b", "enabled": True}, {"name": "a", "enabled": False}]},
        {"version": "7.2", "enabled": ["b"], "disabled": ["a"]},
    ),
    (
        Question.FSINFO,
        [
            {
                "mountpoint": "/",
                "name": "vda1",
                "type": "xfs",
                "disk": [{"dev": "/dev/vda"}, {}],
                "used-bytes": 5,
            }
        ],
        [
            {
                "mountpoint": "/",
                "device": "vda1",
                "type": "xfs",
                "disks": ["/dev/vda"],
                "used_bytes": 5,
                "total_bytes": None,
            }
        ],
    ),
    (
        Question.USERS,
        [{"user": "root", "login-time": 1.5}, {"user": "x", "domain": "CORP", "login-time": 0}],
        [
            {"user": "root", "domain": None, "login_time": "1970-01-01T00:00:01.500Z"},
            {"user": "x", "domain": "CORP", "login_time": "1970-01-01T00:00:00.000Z"},
        ],
    ),
    (Question.TIME, 1_700_000_000_123_456_789, {"time": "2023-11-14T22:13:20.123Z"}),
    (Question.HOSTNAME, {"host-name": "db1"}, {"hostname": "db1"}),
    (
        Question.INTERFACES,
        [
            {"name": "lo"},
            {
                "name": "eth0",
                "hardware-address": "52:54:00:00:00:01",
                "ip-addresses": [{"ip-address": "fe80::1", "ip-address-type": "ipv6", "prefix": 64}],
            },
        ],
        [
            {"name": "lo", "hardware_address": None, "addresses": []},
            {"name": "eth0", "hardware_address": "52:54:00:00:00:01", "addresses": ["fe80::1/64"]},
        ],
    ),
    (
        Question.TRIM,
        {"paths": [{"path": "/", "trimmed": 7, "minimum": 0}, {"path": "/x", "error": "trim not supported"}]},
        [
            {"mountpoint": "/", "trimmed_bytes": 7, "error": None},
            {"mountpoint": "/x", "trimmed_bytes": None, "error": "trim not supported"},
        ],
    ),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["user", "login-time", "name", "ip-addresses", "prefix", "path", "paths", "disk", "host-name"]
            ),
            inner,
        )
    ),
    max_leaves=10,
)


@pytest.mark.parametrize(("question", "reply", "answer"), FITTING)
def test_an_answer_has_the_members_of_its_question(question: Question, reply: Any, answer: Any) -> None:
    assert QUESTIONS[question][1](reply) == answer


@pytest.mark.parametrize("question", Question)
@given(reply=JSON)
def test_whatever_a_guest_says_fits_or_is_a_misfit(question: Question, reply: Any) -> None:
    try:
        QUESTIONS[question][1](reply)
    except Misfit:
        return


@pytest.mark.parametrize(
    ("question", "reply"),
    [
        (Question.PING, []),
        (Question.TIME, True),
        (Question.TIME, 2**63),
        (Question.USERS, [{"user": "root", "login-time": 1e300}]),
        (Question.USERS, [{"user": "root", "login-time": float("nan")}]),
        (Question.USERS, [{"user": "x" * 300, "login-time": 1}]),
        (Question.USERS, [{"user": "x", "login-time": 1}] * 1001),
        (Question.FSINFO, [{"mountpoint": "/", "name": "vda", "type": "xfs"}]),
        (Question.INTERFACES, [{"name": "lo", "ip-addresses": [{"ip-address": "::1", "prefix": 129}]}]),
    ],
)
def test_what_does_not_fit_is_no_answer(question: Question, reply: Any) -> None:
    with pytest.raises(Misfit):
        QUESTIONS[question][1](reply)
