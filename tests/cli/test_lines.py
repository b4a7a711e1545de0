"""From lines to calls: what is taken, what is refused and why, and ids that repeat."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest

from eventspool._cli.lines import MAX_LINE_BYTES, LineError, LineReader, read_lines

LINE = b'{"type":"track","userId":"u1","event":"A"}'


def read(line: bytes):
    return LineReader().read(line)


def test_a_line_becomes_the_call_that_it_names():
    method, arguments = read(b'{"type":"group","userId":"u","groupId":"g","traits":{"a":1},"messageId":"m"}')

    assert method == "group"
    assert arguments == {"user_id": "u", "group_id": "g", "traits": {"a": 1}, "message_id": "m"}


def test_what_the_wire_form_makes_anew_is_left_out():
    line = b'{"type":"track","event":"A","channel":"server","originalTimestamp":"2020-01-01","timestamp":"2020-01-02"}'

    assert read(line).arguments.keys() == {"event", "timestamp", "message_id"}


def test_the_original_timestamp_stands_in_for_a_missing_one():
    line = b'{"type":"track","event":"A","originalTimestamp":"2020-01-01T00:00:00Z"}'

    assert read(line).arguments["timestamp"] == "2020-01-01T00:00:00Z"


def test_an_id_depends_on_the_content_alone():
    assert read(LINE).arguments["message_id"] == read(LINE).arguments["message_id"]
    assert read(LINE).arguments["message_id"] != read(LINE.replace(b"A", b"B")).arguments["message_id"]


def test_identical_lines_have_ids_of_their_own_and_keep_them():
    def ids() -> list[str]:
        reader = LineReader()
        return [reader.read(LINE).arguments["message_id"] for _ in range(3)]

    assert len(set(ids())) == 3
    assert ids() == ids()


@pytest.mark.parametrize(
    "number", ["1.10", "0.1", "1e400", "123456789012345678901234567890.5", "-0.0", "7" * 9000]
)
def test_numbers_keep_their_digits(number):
    value = read(b'{"type":"track","event":"A","properties":{"x":%s}}' % number.encode()).arguments[
        "properties"
    ]["x"]

    assert str(value) == str(Decimal(number)) or repr(value) == number


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"secret", "not JSON (column 1)"),
        (b"\xff\xfe", "not UTF-8"),
        (b'"secret"', "not a JSON object"),
        (b'{"event":"secret"}', "type must be one of"),
        (b'{"type":["secret"]}', "type must be one of"),
        (b'{"type":"track","user_id":"secret"}', "did you mean userId?"),
        (b'{"type":"track","useId":"secret"}', "did you mean userId?"),
        (b'{"type":"track","secret":1}', "track has no such field"),
        (b'{"type":"alias","anonymousId":"secret"}', "alias has no anonymousId"),
        (b'{"type":"track","properties":{"secret":NaN}}', "a number that JSON does not have"),
        (b'{"type":"track","properties":' + b"1e9999999999999999999}", "too long"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_wrong_line_is_refused_with_its_reason_and_without_its_content(line, reason):
    with pytest.raises(LineError) as caught:
        read(line)

    assert reason in str(caught.value)
    assert "secret" not in str(caught.value)


def split(data: bytes) -> list[tuple[bytes, bool]]:
    parts = list(read_lines(io.BytesIO(data)))
    assert sum(size for size, _, _ in parts) == len(data)
    return [(line, whole) for _, line, whole in parts]


def test_byte_order_mark_carriage_returns_and_a_missing_last_line_end_do_not_matter():
    assert split(b"\xef\xbb\xbfa\r\nb\n\n c ") == [(b"a", True), (b"b", True), (b"", True), (b"c", True)]


def test_an_empty_file_has_no_lines():
    assert split(b"") == []


@pytest.mark.parametrize("size", [MAX_LINE_BYTES + 1, 2 * MAX_LINE_BYTES + 1, 5 * MAX_LINE_BYTES])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_huge_line_is_cut_and_the_next_one_read(size, end):
    lines = split(b"x" * size + end + (b"next" if end else b""))

    assert [whole for _, whole in lines] == ([False, True] if end else [False])
    assert max(len(line) for line, _ in lines) <= MAX_LINE_BYTES + 1


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_the_longest_line_is_whole(end):
    assert split(b"x" * MAX_LINE_BYTES + end) == [(b"x" * MAX_LINE_BYTES, True)]
