"""Records as compaction sees them, against the reader that decodes everything."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.sparse_batch import build_sparse_batch

from ottla.model.errors import ApiError
from ottla.record.batch import HEADER_SIZE, read_header, verify_crc
from ottla.record.builder import build_batch
from ottla.record.keyed import keyed_records, rebuild
from ottla.record.records import Record, read_records

RECORDS = st.lists(
    st.builds(
        Record,
        timestamp=st.integers(0, 2**45),
        key=st.none() | st.binary(max_size=200),
        value=st.none() | st.binary(max_size=200) | st.just(b"v" * 20_000),
        headers=st.lists(st.tuples(st.text(max_size=3), st.none() | st.binary(max_size=3))).map(
            tuple
        ),
    ),
    min_size=1,
    max_size=150,
)


@settings(max_examples=100, deadline=None)
@given(RECORDS, st.data())
def test_what_is_kept_is_what_was_there(records: list[Record], data: st.DataObject) -> None:
    batch = build_batch(records, base_offset=1_000, producer_id=7, base_sequence=3)
    header = read_header(batch)
    found = list(keyed_records(batch[HEADER_SIZE:], len(records)))
    decoded = list(read_records(batch))
    assert [(1_000 + r.offset_delta, r.key, r.has_value) for r in found] == [
        (r.offset, r.key, r.value is not None) for r in decoded
    ]
    chosen = data.draw(st.lists(st.booleans(), min_size=len(found), max_size=len(found)))
    horizon = data.draw(st.none() | st.integers(0, 2**45))
    kept = [record for record, wanted in zip(found, chosen, strict=True) if wanted]
    expected = [record for record, wanted in zip(decoded, chosen, strict=True) if wanted]
    rebuilt = rebuild(header, batch[HEADER_SIZE:], kept, horizon)
    assert verify_crc(rebuilt)
    assert list(read_records(rebuilt)) == expected
    assert rebuilt == build_sparse_batch(
        expected,
        base_offset=1_000,
        last_offset=header.last_offset,
        leader_epoch=header.leader_epoch,
        max_timestamp=header.max_timestamp,
        producer_id=7,
        base_sequence=3,
        delete_horizon_ms=horizon if kept else None,
    )


def test_bytes_that_are_no_records_are_refused() -> None:
    batch = build_batch([Record(key=b"key", value=b"value")] * 3)
    records = batch[HEADER_SIZE:]
    for wrong in (records[:-1], records + b"\x00", b"", b"\x00" * 40, b"\xff" * 40):
        with pytest.raises(ApiError):
            list(keyed_records(wrong, 3))
    with pytest.raises(ApiError):
        list(keyed_records(records, 2))
