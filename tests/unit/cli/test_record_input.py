"""The percent grammar on its way in: whatever the chunks, the same records."""

import pytest

from ottla.cli.record_input import RecordReader
from ottla.cli.record_json import InputRecord


def read(text: str, data: bytes, piece: int = 1 << 20) -> list[InputRecord]:
    reader = RecordReader(text)
    records: list[InputRecord] = []
    for start in range(0, len(data), piece):
        records += reader.feed(data[start : start + piece])
    records += reader.feed(b"")
    return records


CASES = [
    (
        "%v\\n",
        b"a\n\nb c",
        [InputRecord(value=b"a"), InputRecord(value=b""), InputRecord(value=b"b c")],
    ),
    ("%v\\n", b"", []),
    ("%k %v\\n", b"k v w\nx y\n", [InputRecord(b"k", b"v w"), InputRecord(b"x", b"y")]),
    ("%v", b"all\nof it", [InputRecord(value=b"all\nof it")]),
    (
        "%K{big32}%k%V{big16}%v",
        b"\0\0\0\x02ab\0\x03c\nd\0\0\0\0\0\0",
        [InputRecord(b"ab", b"c\nd"), InputRecord(b"", b"")],
    ),
    ("%K{little32}%V{byte}%k%v", b"\x01\0\0\0\x02abc", [InputRecord(b"a", b"bc")]),
    ("%V %v;", b"3 a;b;0 ;", [InputRecord(value=b"a;b"), InputRecord(value=b"")]),
    ("%k{hex}:%v{base64}\\n", b"666f:YmE=\n", [InputRecord(b"fo", b"ba")]),
    ("%v{json}\\n", b'{"a":1}\n', [InputRecord(value=b'{"a":1}')]),
    (
        "%t %p %d %v\\n",
        b"rides 2 99 x\n",
        [InputRecord(value=b"x", topic="rides", partition=2, timestamp=99)],
    ),
    (
        "%H %h{%k=%v,}%v\\n",
        b"2 a=1,b=2,x\n0 y\n",
        [InputRecord(value=b"x", headers=(("a", b"1"), ("b", b"2"))), InputRecord(value=b"y")],
    ),
    ("%v--%k\\n", b"a-b--k\n", [InputRecord(b"k", b"a-b")]),
]


@pytest.mark.parametrize(("text", "data", "records"), CASES)
@pytest.mark.parametrize("piece", [1, 2, 3, 1 << 20])
def test_records_are_cut_out(
    text: str, data: bytes, records: list[InputRecord], piece: int
) -> None:
    assert read(text, data, piece) == records


@pytest.mark.parametrize(
    ("text", "data", "why"),
    [
        ("%k %v\\n", b"a b\nalone", "the input ends in the middle of record 2"),
        ("%V{big32}%v", b"\0\0\0\x05abc", "the input ends in the middle of record 1"),
        ("%V %v;", b"x a;", "record 1: %V: b'x' is no number"),
        ("%V %v;", b"1 ab;", "record 1: b'b' where the format says b';'"),
        ("%v{hex}\\n", b"zz\n", "record 1: .* is not hex"),
        ("%v{json}\\n", b"{}\n{\n", "record 2: .* is not json"),
        ("%V{big32}%v", b"\0\0\0\x01a\xff\xff\xff\xff", "ends in the middle of record 2"),
    ],
)
def test_what_does_not_fit_is_named(text: str, data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read(text, data)


@pytest.mark.parametrize(
    "text",
    ["", "abc", "%k%v\\n", "%o{hex8}%v", "%v{rot13}\\n", "%x\\n", "%h{%k=%v,}%v\\n", "%H%h{%k=%v}"],
)
def test_a_format_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        RecordReader(text)
