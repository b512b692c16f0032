"""Replicas by id and by name, also while a topic is deleted and made again."""

from tests.unit.storage.parts import make_log

from ottla.model.ids import Uuid
from ottla.record.validate import ProduceRules
from ottla.replica.partition import Partition
from ottla.replica.replicas import Replicas

OLD, NEW = b"o" * 16, b"n" * 16


def replica(topic_id: Uuid, number: int = 0) -> Partition:
    return Partition(
        "t",
        number,
        topic_id,
        make_log(),
        rules=ProduceRules(),
        request_flush=lambda partition: None,
    )


def test_found_by_id_and_by_name() -> None:
    replicas = Replicas()
    zero, one = replica(OLD), replica(OLD, 1)
    replicas.add(zero)
    replicas.add(one)
    assert replicas.find(OLD, 1) is replicas.find_by_name("t", 1) is one
    assert replicas.of_topic("t") == list(replicas) == [zero, one]
    assert replicas.find(NEW, 1) is replicas.find_by_name("u", 1) is None
    assert len(replicas) == 2


def test_an_old_one_that_goes_leaves_the_new_one_of_its_name() -> None:
    replicas = Replicas()
    old, new = replica(OLD), replica(NEW)
    replicas.add(old)
    replicas.add(new)
    replicas.remove(old)
    assert replicas.find_by_name("t", 0) is new
    replicas.remove(new)
    assert replicas.of_topic("t") == []
    assert len(replicas) == 0
