"""Messages between an orchestrator and its guard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.guard.wire import Arm, Armed, Expect, Message, Release, Within, decode, encode
from orchestrator.model import Machine

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
KEY = st.tuples(TEXT, TEXT)
MACHINE = st.builds(Machine, TEXT, st.none() | TEXT, st.none() | TEXT, st.none() | TEXT, st.none() | TEXT)
MESSAGE = st.one_of(
    st.builds(Expect, MACHINE),
    st.builds(Arm, TEXT, MACHINE, TEXT),
    st.builds(Within, KEY, st.none() | st.floats(allow_nan=False), st.booleans()),
    st.builds(Release, KEY),
    st.builds(Armed, KEY, st.none() | TEXT),
)


@given(MESSAGE)
def test_what_is_said_is_heard(message: Message) -> None:
    assert decode(encode(message)) == message


@pytest.mark.parametrize(
    "packet", [b"", b"\xff", b"[]", b"1", b"{}", b'{"is": "Release"}', b'{"is": "Fire", "key": ["r", "m"]}']
)
def test_nothing_else_is_understood(packet: bytes) -> None:
    with pytest.raises(ValueError, match="not a message"):
        decode(packet)
