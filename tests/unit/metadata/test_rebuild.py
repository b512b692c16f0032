"""Metadata from directories: who may lead, what is kept, what is refused."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from ottla.metadata import changes
from ottla.metadata.image import ConfigResource, Image, KnownBroker, PartitionImage
from ottla.metadata.rebuild import (
    EPOCH_MARGIN,
    PRODUCER_ID_MARGIN,
    UNKNOWN_SETTINGS,
    Rebuilt,
    Weight,
    image_of,
    rebuild,
)
from ottla.model.holdings import HeldLog, Holdings, MetadataCopy
from ottla.model.ids import NO_BROKER, Uuid
from ottla.model.isolation import ResourceType

TOPIC, OTHER = bytes([1] * 16), bytes([2] * 16)
THREE = (1, 2, 3)


def log(
    end: int, epoch: int, *, topic: str = "t", topic_id: Uuid | None = TOPIC, number: int = 0,
    high_watermark: int = 0, highest: int | None = None,
) -> HeldLog:  # fmt: skip
    return HeldLog(
        topic, number, topic_id, epoch, epoch if highest is None else highest, 0, end,
        high_watermark,
    )  # fmt: skip


def directory(
    node: int, *logs: HeldLog, copy: MetadataCopy | None = None, cluster: str = "c", producer: int = -1
) -> Holdings:  # fmt: skip
    return Holdings(
        f"/data/{node}", cluster, node, bytes([100 + node] * 16), "boot", False, producer, logs,
        copy, (),
    )  # fmt: skip


def copy(
    revision: int = 10,
    *,
    generation: int = 0,
    identity: str = "e",
    decisions: int = 5,
    topics: Mapping[Uuid, tuple[str, list[PartitionImage]]] | None = None,
    more: list[changes.KeyValue] | None = None,
) -> MetadataCopy:
    given = {TOPIC: ("t", [PartitionImage(1, 3, 5, THREE, THREE)])} if topics is None else topics
    keys = dict(more or [])
    for topic_id, (name, states) in given.items():
        keys.update([changes.topic_key(topic_id, name, len(states))])
        keys.update(changes.partition_key(topic_id, n, state) for n, state in enumerate(states))
    keys.update([changes.cluster_key("c", generation)])
    keys.update([changes.decided_key(decisions)])
    return MetadataCopy("c", generation, identity, revision, decisions, keys, {})


def image(rebuilt: Rebuilt) -> Image:
    return image_of(MetadataCopy("c", rebuilt.generation, "", 1, 0, rebuilt.keys, {}))


def said(rebuilt: Rebuilt, weight: Weight) -> list[str]:
    return [each.text for each in rebuilt.findings if each.weight is weight]


def test_who_reaches_furthest_is_in_sync_and_nobody_leads_yet() -> None:
    known = copy()
    rebuilt = rebuild(
        [
            directory(1, log(900, 3), copy=known),
            directory(2, log(500, 4)),
            directory(3, log(500, 4)),
        ]
    )
    state = image(rebuilt).topics["t"].partitions[0]
    assert (state.replicas, state.isr) == (THREE, (2, 3))
    assert state.leader == NO_BROKER
    assert state.leader_epoch == 5
    assert not rebuilt.is_refused
    assert rebuilt.generation == 1


def test_epochs_go_on_above_all_that_any_directory_mentions() -> None:
    rebuilt = rebuild([directory(1, log(5, 2, highest=9)), directory(2, log(5, 2))])
    assert image(rebuilt).topics["t"].partitions[0].leader_epoch == 10


def test_settings_features_and_brokers_come_from_the_newest_copy() -> None:
    topic = ConfigResource(ResourceType.TOPIC, "t")
    default = ConfigResource(ResourceType.BROKER, "")
    old = copy(5, more=[changes.config_key(topic, {"retention.ms": "1"})])
    new = copy(
        9,
        more=[
            changes.config_key(topic, {"retention.ms": "2"}),
            changes.config_key(default, {"a": "b"}),
            changes.features_key({"group.version": 0}),
            changes.known_broker_key(KnownBroker(1, "r", (), (bytes([101] * 16),), "boot")),
            changes.producer_ids_key(4_000),
        ],
    )
    dirs = [directory(n, log(1, 3), copy=new if n == 2 else old, producer=7) for n in THREE]
    made = image(rebuild(dirs))
    assert made.topics["t"].configs == {"retention.ms": "2"}
    assert made.configs[default] == {"a": "b"}
    assert made.features == {"group.version": 0}
    assert made.known_brokers[1].rack == "r"
    assert made.next_producer_id == 4_000 + PRODUCER_ID_MARGIN


def test_without_any_copy_directories_say_what_there_is_and_nothing_expires() -> None:
    rebuilt = rebuild(
        [directory(1, log(5, 1), log(5, 1, number=2), producer=41), directory(2, log(5, 1))]
    )
    topic = image(rebuilt).topics["t"]
    assert [each.replicas for each in topic.partitions] == [(1, 2), (2, 1), (1,)]
    assert topic.configs == UNKNOWN_SETTINGS
    assert image(rebuilt).next_producer_id == 42 + PRODUCER_ID_MARGIN


def test_a_topic_deleted_since_an_older_copy_stays_deleted() -> None:
    old = copy(5, topics={TOPIC: ("t", [PartitionImage(1, 0, 0, THREE, THREE)])})
    new = copy(9, topics={})
    rebuilt = rebuild([directory(1, log(5, 0), copy=old), directory(2, copy=new), directory(3)])
    assert image(rebuilt).topics == {}
    assert "was deleted" in said(rebuilt, Weight.NOTE)[0]


def test_a_topic_younger_than_every_copy_is_there_and_its_settings_are_not() -> None:
    new = log(5, 0, topic="new", topic_id=OTHER)
    rebuilt = rebuild([directory(n, log(1, 3), new, copy=copy()) for n in THREE])
    assert image(rebuilt).topics["new"].configs == UNKNOWN_SETTINGS
    assert "younger" in said(rebuilt, Weight.NOTE)[0]


def test_two_topics_of_a_name_the_known_one_is_kept() -> None:
    stale = log(99, 50, topic_id=OTHER)
    rebuilt = rebuild(
        [directory(1, stale, copy=copy()), *(directory(n, log(1, 3)) for n in (2, 3))]
    )
    assert image(rebuilt).topics["t"].topic_id == TOPIC
    assert "two topics t" in said(rebuilt, Weight.DOUBT)[0]


def test_a_replica_moved_after_the_copy_is_one() -> None:
    known = copy(topics={TOPIC: ("t", [PartitionImage(1, 3, 5, (1,), (1,))])})
    rebuilt = rebuild([directory(1, log(10, 3), copy=known), directory(2, log(50, 4))])
    state = image(rebuilt).topics["t"].partitions[0]
    assert (state.replicas, state.isr) == ((1, 2), (2,))


def test_who_is_not_given_must_be_named_and_epochs_leave_room_for_what_it_saw() -> None:
    dirs = [directory(1, log(5, 3), copy=copy()), directory(2, log(5, 3))]
    assert "broker 3 is not given" in said(rebuild(dirs), Weight.REFUSED)[0]
    rebuilt = rebuild(dirs, without=[3])
    assert not rebuilt.is_refused
    state = image(rebuilt).topics["t"].partitions[0]
    assert state.replicas == THREE
    assert state.leader_epoch == 4 + EPOCH_MARGIN


def test_one_of_two_directories_of_a_broker_is_missed_too() -> None:
    broker = KnownBroker(1, None, (), (bytes([101] * 16), bytes([9] * 16)))
    known = copy(more=[changes.known_broker_key(broker)])
    rebuilt = rebuild([directory(n, log(1, 3), copy=known) for n in THREE])
    assert "a data directory of broker 1 is not given" in said(rebuilt, Weight.REFUSED)[0]


def test_what_was_committed_and_is_gone_is_said() -> None:
    dirs = [
        directory(1, log(5, 3, high_watermark=5), copy=copy()),
        directory(2, log(4, 3, high_watermark=9)),
        directory(3),
    ]
    assert "from offset 5 up to 9" in said(rebuild(dirs), Weight.LOSS)[0]
    known = copy(topics={TOPIC: ("t", [PartitionImage(3, 3, 5, THREE, (3,))])})
    lost = rebuild([directory(1, log(5, 3), copy=known), directory(2)], without=[3])
    assert "only broker 3 was in sync" in said(lost, Weight.LOSS)[0]


def test_directories_of_two_clusters_and_copies_of_one_are_refused() -> None:
    two = rebuild([directory(1), directory(2, cluster="d")])
    assert "2 clusters" in said(two, Weight.REFUSED)[0]
    twin = directory(1)._replace(path="/backup/1")
    assert "same directory.id" in said(rebuild([directory(1), twin]), Weight.REFUSED)[0]
    assert rebuild([]).is_refused


def test_a_restored_store_gives_way_to_the_directories_and_their_rebuilt_successor_does_not() -> (
    None
):
    topic = ConfigResource(ResourceType.TOPIC, "t")
    ours = copy(20, more=[changes.config_key(topic, {"x": "new"})])
    backup = copy(500, identity="other", more=[changes.config_key(topic, {"x": "old"})])
    dirs = [directory(n, log(1, 3), copy=ours) for n in THREE]
    assert image(rebuild(dirs, backup)).topics["t"].configs == {"x": "new"}
    later = backup._replace(generation=1)
    assert image(rebuild(dirs, later)).topics["t"].configs == {"x": "old"}
    assert rebuild(dirs, later).generation == 2


def test_an_etcd_of_the_same_id_set_back_to_a_backup_is_older_though_its_revision_ran_on() -> None:
    ours = copy(20, decisions=9, topics={TOPIC: ("t", []), OTHER: ("later", [])})
    backup = copy(25, decisions=8)
    dirs = [directory(n, log(1, 3), copy=ours) for n in THREE]
    assert set(image(rebuild(dirs, backup)).topics) == {"t", "later"}


def test_of_the_states_in_copies_the_one_of_the_highest_epoch_counts() -> None:
    older = copy(20, topics={TOPIC: ("t", [PartitionImage(1, 3, 5, (1, 2, 3), THREE)])})
    newer = copy(15, topics={TOPIC: ("t", [PartitionImage(1, 4, 9, (3, 2, 1), THREE)])})
    dirs = [directory(1, copy=older), directory(2, copy=newer), directory(3, log(1, 3))]
    assert image(rebuild(dirs)).topics["t"].partitions[0].replicas == (3, 2, 1)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[tuple[int, int]], int]:
    """Three logs after random leaders, and how far it was committed; each record knows its epoch."""
    logs: list[list[int]] = [[], [], []]
    isr = {0, 1, 2}
    committed: list[int] = []
    leader, epoch = 0, 0
    for _ in range(draw(st.integers(1, 12))):
        step = draw(st.sampled_from(["append", "fetch", "shrink", "elect", "expand"]))
        other = draw(st.integers(0, 2))
        if step == "append":
            logs[leader].append(epoch)
        elif step == "fetch" and other != leader:
            theirs, mine = logs[leader], logs[other]
            same = next(
                (n for n, (a, b) in enumerate(zip(theirs, mine, strict=False)) if a != b),
                min(len(theirs), len(mine)),
            )
            logs[other] = theirs[: same + draw(st.integers(0, len(theirs) - same))]
            if len(logs[other]) < len(committed) and other in isr:
                logs[other] = list(committed)
        elif step == "shrink" and other != leader and len(isr) > 1:
            isr.discard(other)
        elif step == "expand" and len(logs[other]) >= len(committed):
            if logs[other][: len(committed)] == committed and logs[other] == logs[leader]:
                isr.add(other)
        elif step == "elect" and other in isr:
            leader, epoch = other, epoch + 1
        if all(logs[n] == logs[leader][: len(logs[n])] for n in isr):
            committed = logs[leader][: max(len(committed), min(len(logs[n]) for n in isr))]
    return [(log[-1] if log else -1, len(log)) for log in logs], len(committed)


@given(histories())
def test_whoever_is_in_sync_afterwards_has_all_that_was_committed(
    history: tuple[list[tuple[int, int]], int],
) -> None:
    reaches, committed = history
    dirs = [directory(n + 1, log(end, epoch)) for n, (epoch, end) in enumerate(reaches)]
    state = image(rebuild(dirs)).topics["t"].partitions[0]
    assert all(reaches[broker - 1][1] >= committed for broker in state.isr)
