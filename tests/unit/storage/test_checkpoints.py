import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.model.ids import TopicPartition
from ottla.storage import checkpoints
from ottla.storage.checkpoints import CheckpointError

NAMES = st.text("abcXYZ019._-", min_size=1, max_size=20)


def test_offset_checkpoints_are_spelled_as_kafka_spells_them() -> None:
    offsets = {TopicPartition("timed", 0): 124, TopicPartition("small", 3): 7}
    text = checkpoints.offsets_text(offsets)
    assert text == b"0\n2\ntimed 0 124\nsmall 3 7\n"
    assert checkpoints.parse_offsets(text) == offsets
    assert checkpoints.offsets_text({}) == b"0\n0\n"


@given(st.dictionaries(st.builds(TopicPartition, NAMES, st.integers(0)), st.integers(0)))
def test_offsets_come_back(offsets: dict[TopicPartition, int]) -> None:
    assert checkpoints.parse_offsets(checkpoints.offsets_text(offsets)) == offsets


@given(st.lists(st.tuples(st.integers(), st.integers())))
def test_pairs_come_back(pairs: list[tuple[int, int]]) -> None:
    assert checkpoints.parse_pairs(checkpoints.pairs_text(pairs)) == pairs


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"0\n",
        b"1\n0\n",
        b"0\nx\n",
        b"0\n2\na 0 1\n",
        b"0\n1\na 0\n",
        b"0\n1\na b 1\n",
        b"\xff",
    ],
)
def test_a_torn_checkpoint_is_an_error(data: bytes) -> None:
    with pytest.raises(CheckpointError):
        checkpoints.parse_offsets(data)


def test_meta_properties_come_back() -> None:
    text = checkpoints.meta_properties_text(
        cluster_id="hVgKV5QRTzOtnlWrSSWHyA", node_id=3, directory_id=bytes(range(16))
    )
    assert checkpoints.parse_properties(text) == {
        "version": "1",
        "cluster.id": "hVgKV5QRTzOtnlWrSSWHyA",
        "node.id": "3",
        "directory.id": "AAECAwQFBgcICQoLDA0ODw",
    }
    with pytest.raises(CheckpointError):
        checkpoints.parse_properties(b"\xff\xfe")


def test_partition_metadata_come_back() -> None:
    topic_id = bytes(range(16))
    text = checkpoints.partition_metadata_text(topic_id)
    assert text == b"version: 0\ntopic_id: AAECAwQFBgcICQoLDA0ODw"
    assert checkpoints.parse_partition_metadata(text) == topic_id


@pytest.mark.parametrize(
    "data", [b"", b"version: 0", b"version: 1\ntopic_id: AAECAwQFBgcICQoLDA0ODw", b"x\ny", b"\xff"]
)
def test_a_torn_partition_metadata_is_an_error(data: bytes) -> None:
    with pytest.raises(CheckpointError):
        checkpoints.parse_partition_metadata(data)


def test_the_marker_of_a_clean_stop_is_kafkas() -> None:
    assert checkpoints.clean_shutdown_text(13) == b'{"version":0,"brokerEpoch":13}'
    assert checkpoints.parse_clean_shutdown(b'{"version":0,"brokerEpoch":13}') == 13
    for torn in (b"", b"{}", b"[]", b"\xff", b'{"brokerEpoch":null}'):
        assert checkpoints.parse_clean_shutdown(torn) == -1
