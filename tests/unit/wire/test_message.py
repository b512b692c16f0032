import pytest

from ottla.wire.generated.produce import LeaderIdAndEpoch, PartitionProduceData
from ottla.wire.message import Field


def test_equal_if_of_one_class_with_equal_fields() -> None:
    assert PartitionProduceData(index=1, records=b"a") == PartitionProduceData(
        index=1, records=memoryview(b"a")
    )
    assert PartitionProduceData(index=1) != PartitionProduceData(index=2)
    assert PartitionProduceData() != LeaderIdAndEpoch()


def test_not_hashable() -> None:
    with pytest.raises(TypeError):
        hash(LeaderIdAndEpoch())


def test_shown_with_all_fields() -> None:
    assert repr(LeaderIdAndEpoch(leader_id=3)) == "LeaderIdAndEpoch(leader_id=3, leader_epoch=-1)"


def test_a_field_knows_its_versions() -> None:
    field = Field("topics", "[]Topic", 2, 5, (3, 4), None, (), False)
    assert [field.in_version(v) for v in (1, 2, 5, 6)] == [False, True, True, False]
    assert [field.null_in_version(v) for v in (2, 3, 4, 5)] == [False, True, True, False]
    assert field.element == "Topic"
    assert field.is_list
    assert not field.is_struct
