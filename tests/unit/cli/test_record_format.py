"""The percent grammar on its way out."""

import pytest

from ottla.cli.record_format import Shown, compile_format
from ottla.record.records import Record

RECORD = Record(
    offset=257,
    timestamp=1_767_225_600_250,
    key=b"foo",
    value=b"bar\xff",
    headers=(("a", b"1"), ("b", None)),
)
SHOWN = Shown(
    RECORD,
    "rides",
    3,
    number=9,
    leader_epoch=5,
    attributes=0b11100,
    producer_id=77,
    producer_epoch=2,
    log_start_offset=1,
    last_stable_offset=300,
    high_watermark=301,
)


@pytest.mark.parametrize(
    ("text", "bytes_out"),
    [
        ("%t/%p %o %k %v\\n", b"rides/3 257 foo bar\xff\n"),
        ("%T %K %V %H", b"5 3 4 2"),
        ("%e %x %y %i %[ %| %]", b"5 77 2 9 1 300 301"),
        ("%% %{ %} \\t\\n\\r\\\\\\x41", b"% { } \t\n\r\\A"),
        ("%h{ %k=%v}", b" a=1 b="),
        ("%h{%K%V}", b"1110"),
        ("%h{%v{hex}%{%}}", b"31{}{}"),
        ("%k{hex} %v{base64} %v{base64raw}", b"666f6f YmFy/w== YmFy/w"),
        ("%k{json}", b'"foo"'),
        ("%o{hex64} %o{hex32} %o{hex16} %o{hex8} %o{hex4}", b"0000000000000101 00000101 0101 01 1"),
        ("%o{big64}", b"\0\0\0\0\0\0\x01\x01"),
        ("%o{big32}%o{big16}%o{big8}", b"\0\0\x01\x01\x01\x01\x01"),
        ("%o{little32}%o{byte}", b"\x01\x01\0\0\x01"),
        ("%o{bool} %H{bool}", b"true true"),
        ("%d", b"1767225600250"),
        ("%d{iso}", b"2026-01-01T00:00:00.250Z"),
        ("%d{strftime[%F %H}]}", b"2026-01-01 00}"),
        ("%d{strftime## [%F] ##}", b" [2026-01-01] "),
        ("%d{big64}", (1_767_225_600_250).to_bytes(8, "big")),
        ("%a{compression} %a{compression;number}", b"zstd 4"),
        ("%a{timestamp-type} %a{transactional-bit;bool} %a{control-bit}", b"1 true 0"),
        ("%k{unpack[>bHc]}", b"10228527 (the text ends too early)"),
        ("%k{unpack[.s$]}", b"foo"),
        ("%v{unpack[<H]}", b"24930"),
    ],
)
def test_fields(text: str, bytes_out: bytes) -> None:
    assert compile_format(text)(SHOWN) == bytes_out


def test_nulls_are_empty() -> None:
    nothing = SHOWN._replace(record=Record())
    assert compile_format("[%k|%v|%K|%V]")(nothing) == b"[||0|0]"


@pytest.mark.parametrize(
    "text",
    [
        "%",
        "\\",
        "\\q",
        "\\x4",
        "\\xzz",
        "%z",
        "%k{",
        "%k{rot13}",
        "%o{hex128}",
        "%a",
        "%a{colour}",
        "%h",
        "%d{tomorrow}",
        "%d{strftime}",
        "%d{strftime[%F}",
        "%k{unpack[w]}",
    ],
)
def test_what_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        compile_format(text)
