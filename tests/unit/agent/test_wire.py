"""The wire format: whatever bytes come, in whatever pieces, messages or noise come out."""

import itertools
import json
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.agent.wire import (
    MAX_CLASS,
    MAX_DEPTH,
    MAX_DESCRIPTION,
    MAX_MESSAGE,
    Decoder,
    Failure,
    Json,
    Message,
    Noise,
    Return,
    encode,
    encode_sync,
    parse,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
#: Bytes that look enough like the real thing to get past the first check.
TOKENS = st.sampled_from(
    [
        b"\n",
        b"\xff",
        b"{",
        b"}",
        b"[",
        b'"',
        b"\\u",
        b'{"return": {}}',
        b'{"error": {"class": "C", "desc": "D"}}',
        b"NaN",
    ]
)


def fed(pieces: Iterable[bytes]) -> list[Message]:
    decoder = Decoder()
    return [message for piece in pieces for message in decoder.feed(piece)]


def cut(data: bytes, at: Iterable[int]) -> list[bytes]:
    """The bytes in pieces, cut at those places."""
    places = [0, *sorted(place % (len(data) + 1) for place in at), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(places)]


@given(st.lists(JSON, max_size=4), st.lists(st.integers(min_value=0), max_size=12), st.booleans())
def test_values_come_back_however_the_stream_is_cut(values: list[Json], at: list[int], ascii_only: bool) -> None:
    lines = [json.dumps({"return": value}, ensure_ascii=ascii_only).encode() + b"\n" for value in values]
    assert fed(cut(b"".join(lines), at)) == [Return(value) for value in values]


@given(st.lists(st.binary(max_size=20) | TOKENS), st.lists(st.integers(min_value=0), max_size=12))
def test_any_bytes_make_messages_that_do_not_depend_on_the_pieces(parts: list[bytes], at: list[int]) -> None:
    data = b"".join(parts)
    assert fed(cut(data, at)) == fed([data])


@given(st.binary(max_size=60).map(lambda data: data.replace(b"\n", b"")))
def test_the_sentinel_voids_what_stood_before_it_on_the_line(data: bytes) -> None:
    assert fed([data + b'\xff{"return": 1}\n']) == [Return(1)]


@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda data: data.decode("latin-1")))
def test_a_line_of_text_is_a_message_or_noise(line: str) -> None:
    assert isinstance(parse(line), Message)


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"[]",
        b"1",
        b"{}",
        b'{"event": "x"}',
        b'{"return": 1',
        b'{"return": NaN}',
        b'{"return": Infinity}',
        b'{"return": 1e999}',
        b'{"return": ' + b"9" * 21 + b"}",
        b'{"return": ' + b"9" * 1_000_000 + b"}",
        b'{"return": 1, "return": 2}',
        b'{"return": {"a": 1, "a": 1}}',
        b'{"return": 1, "error": {"class": "a", "desc": "b"}}',
        b'{"error": "x"}',
        b'{"error": {"class": "a"}}',
        b'{"error": {"class": 1, "desc": "b"}}',
        b'{"error": {"class": "a", "desc": null}}',
        b'{"return": "\\ud800"}',
        b'{"return": {"\\udfff": 1}}',
        b'{"return": "\xc3\x28"}',
        b'{"return": "\x00"}',
        b'{"return": [' + b"[]," * 1_000_000 + b"[]]}",
        b'{"return": ' + b"[" * 1_000_000,
        b'{"return": ' + b'{"a":' * 500_000,
        b'{"return": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"return": ' + b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1) + b"}",
        b'{"return": "' + b"x" * 10_000_000 + b'"}',
    ],
    ids=lambda line: repr(line[:24]),
)
def test_what_the_agent_would_never_send_is_noise_and_the_next_message_is_heard(line: bytes) -> None:
    messages = fed([line, b'\n{"return": 7}\n'])
    assert [type(message) for message in messages] == [Noise, Return]


def test_noise_does_not_carry_the_bytes_that_made_it() -> None:
    (noise,) = fed([b'{"return": "' + b"x" * 1_000_000 + b"\n"])
    assert isinstance(noise, Noise)
    assert len(noise.reason) < 100


def test_depth_and_size_are_allowed_up_to_the_bound() -> None:
    levels = MAX_DEPTH - 1  # the message itself is a level
    deepest = b'{"return": ' + b"[" * levels + b"]" * levels + b"}"
    longest = b'{"return": "' + b"x" * (MAX_MESSAGE - 14) + b'"}'
    assert len(longest) == MAX_MESSAGE
    assert [type(message) for message in fed([deepest, b"\n", longest, b"\n", b" " + longest, b"\n"])] == [
        Return,
        Return,
        Noise,
    ]


def test_a_guest_with_very_many_file_systems_is_heard() -> None:
    address = {"bus": 0, "slot": 4, "domain": 0, "function": 0}
    disk = {"bus-type": "virtio", "bus": 0, "unit": 0, "pci-controller": address, "dev": "/dev/vdb", "target": 0}
    entry = {
        "name": "vdb",
        "total-bytes": 2**40,
        "mountpoint": "/x" * 20,
        "disk": [disk],
        "used-bytes": 1,
        "type": "xfs",
    }
    line = json.dumps({"return": [entry] * 10_000})
    assert isinstance(parse(line), Return)


def test_an_endless_line_is_told_once_and_takes_no_memory() -> None:
    decoder = Decoder()
    piece = b"x" * 65_536
    tracemalloc.start()
    try:
        messages = [message for _ in range(1_000) for message in decoder.feed(piece)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [type(message) for message in messages] == [Noise]
    assert peak < 2 * MAX_MESSAGE
    assert decoder.feed(b'x\n{"return": 1}\n') == [Return(1)]


@pytest.mark.parametrize(
    ("rest", "empty"), [(b"", True), (b"x", False), (b"x\n", True), (b"x\xff", True), (b"x" * (MAX_MESSAGE + 1), False)]
)
def test_a_begun_message_is_known(rest: bytes, empty: bool) -> None:
    decoder = Decoder()
    decoder.feed(b'{"return": 1}\n' + rest)
    assert decoder.empty is empty


def test_text_that_was_framed_by_others_has_the_same_bound() -> None:
    assert isinstance(parse('{"return": "' + "x" * MAX_MESSAGE + '"}'), Noise)


def test_an_error_is_kept_in_part_only() -> None:
    line = json.dumps({"error": {"class": "C" * 1_000, "desc": "d" * 1_000_000}})
    assert parse(line) == Failure("C" * MAX_CLASS, "d" * MAX_DESCRIPTION)


def test_members_that_are_not_known_are_ignored() -> None:
    assert parse('{"return": {}, "id": 77}') == Return({})


@given(st.text(), st.dictionaries(st.text(), st.text() | st.integers(), min_size=1))
def test_a_command_is_one_ascii_line(command: str, arguments: dict[str, Json]) -> None:
    data = encode(command, arguments)
    assert data.isascii()
    assert data.find(b"\n") == len(data) - 1
    assert json.loads(data) == {"execute": command, "arguments": arguments}


def test_a_sync_clears_the_agents_parser_first() -> None:
    assert encode_sync(5) == b'\xff{"execute": "guest-sync-delimited", "arguments": {"id": 5}}\n'
    assert encode("guest-ping") == b'{"execute": "guest-ping"}\n'
