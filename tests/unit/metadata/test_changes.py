"""The image is a function of the keys alone."""

import json
from dataclasses import fields as fields_of

from hypothesis import given
from hypothesis import strategies as st

from ottla.metadata import changes, controller
from ottla.metadata.changes import apply, from_snapshot
from ottla.metadata.controller import Defaults, NewTopic, Writes
from ottla.metadata.features import SUPPORTED
from ottla.metadata.image import BrokerImage, ConfigResource, Endpoint, Image, KnownBroker
from ottla.metadata.store import Changes, KeyVersion, Put, Snapshot
from ottla.model.isolation import ResourceType
from ottla.model.steps import at_once
from ottla.testing.randomness import SeededRandomness

ONE_BROKER = changes.broker_key(BrokerImage(1, 0, None, (Endpoint("PLAINTEXT", "h", 9092),)))


class Keys:
    """A store reduced to its keys, and the image that follows it."""

    def __init__(self) -> None:
        self.revision = 0
        self.items: dict[str, bytes] = {}
        self.versions: dict[str, KeyVersion] = {}
        self.image = Image()
        self.write(Writes((ONE_BROKER, changes.cluster_key("c"), changes.controller_key(1))))

    def write(self, writes: Writes) -> changes.Delta:
        self.revision += 1
        for key in writes.deletes:
            self.items.pop(key, None)
            self.versions.pop(key, None)
        puts = []
        for key, value in changes.merge(writes.puts):
            created = self.versions[key].create_revision if key in self.versions else self.revision
            self.items[key] = value
            self.versions[key] = KeyVersion(created, self.revision)
            puts.append(Put(key, value, created))
        self.image, delta = apply(
            self.image, Changes(self.revision, tuple(puts), tuple(writes.deletes))
        )
        return delta

    def write_piecewise(self, writes: Writes) -> None:
        """As a store of small transactions has it: new partitions before, old ones after."""
        early = [put for put in writes.puts if put[0].startswith("partition/")]
        late = [key for key in writes.deletes if key.startswith("partition/")]
        for put in early:
            self.write(Writes((put,)))
            assert self.reloaded() == self.image
        self.write(
            Writes(
                tuple(put for put in writes.puts if put not in early),
                tuple(key for key in writes.deletes if key not in late),
            )
        )
        for key in late:
            assert self.reloaded() == self.image
            self.write(Writes(deletes=(key,)))

    def reloaded(self) -> Image:
        keys = sorted(self.items)
        return from_snapshot(
            Snapshot(
                self.revision,
                {key: self.items[key] for key in keys},
                {key: self.versions[key] for key in keys},
            )
        )


def create(image: Image, name: str, partitions: int, configs: dict[str, str], seed: int) -> Writes:
    writes, _ = controller.create_topics(
        image,
        [NewTopic(name, partitions, 1, (), dict(configs))],
        Defaults(1, 1),
        lambda overrides: None,
        SeededRandomness(seed),
    )
    return writes


operations = st.lists(
    st.tuples(
        st.sampled_from(["create", "delete", "grow", "configure", "broker config", "epochs"]),
        st.sampled_from(["a", "b", "c"]),
        st.integers(1, 4),
        st.booleans(),
    ),
    max_size=20,
)


@given(operations)
def test_following_every_change_and_loading_everything_end_in_the_same_image(
    steps: list[tuple[str, str, int, bool]],
) -> None:
    keys = Keys()
    before = [keys.image]
    for seed, (operation, name, number, piecewise) in enumerate(steps):
        write = keys.write_piecewise if piecewise else keys.write
        topic = keys.image.topics.get(name)
        if operation == "create":
            write(create(keys.image, name, number, {"retention.ms": str(number)}, seed))
        elif operation == "broker config":
            resource = ConfigResource(ResourceType.BROKER, "")
            keys.write(Writes((changes.config_key(resource, {"a.b": str(number)}),)))
        elif operation == "epochs":
            write(controller.raise_leader_epochs(keys.image, 1))
        elif topic is None:
            continue
        elif operation == "delete":
            write(controller.delete_topics(keys.image, [topic.topic_id]))
        elif operation == "grow":
            count = len(topic.partitions) + number
            write(controller.create_partitions(keys.image, name, count, None))
        else:
            resource = ConfigResource(ResourceType.TOPIC, name)
            keys.write(Writes((changes.config_key(resource, {"x": str(number)}),)))
        assert keys.reloaded() == keys.image
        before.append(keys.image)
    for old in before:
        delta = changes.difference(old, keys.image)
        differ = {
            n
            for n in (*old.topics, *keys.image.topics)
            if old.topics.get(n) != keys.image.topics.get(n)
        }
        assert delta.topics == differ
        assert delta.deleting == set(keys.image.deleting) - set(old.deleting)


def test_the_delta_names_what_changed() -> None:
    keys = Keys()
    assert keys.write(create(keys.image, "t", 2, {}, 1)).topics == {"t"}
    resource = ConfigResource(ResourceType.TOPIC, "t")
    assert keys.write(Writes((changes.config_key(resource, {"x": "1"}),))).topics == {"t"}
    topic_id = keys.image.topics["t"].topic_id
    delta = keys.write(controller.delete_topics(keys.image, [topic_id]))
    assert delta.topics == {"t"}
    assert delta.deleting == {topic_id}
    assert keys.image.deleting == {topic_id: "t"}
    assert not keys.image.topics


def test_a_new_topic_of_an_old_name_has_a_new_id_and_no_old_settings() -> None:
    keys = Keys()
    keys.write(create(keys.image, "t", 1, {"x": "1"}, 1))
    old = keys.image.topics["t"]
    keys.write(controller.delete_topics(keys.image, [old.topic_id]))
    keys.write(create(keys.image, "t", 3, {}, 2))
    new = keys.image.topics["t"]
    assert new.topic_id != old.topic_id
    assert new.configs == {}
    assert keys.image.topic_by_id(old.topic_id) is None
    assert keys.image.topic_by_id(new.topic_id) is new


def test_a_broker_epoch_is_the_revision_that_created_its_registration() -> None:
    keys = Keys()
    assert keys.image.brokers[1].epoch == 1


def test_partitions_are_there_once_their_topic_says_so_and_no_longer() -> None:
    keys = Keys()
    made = create(keys.image, "t", 3, {}, 1)
    *partitions, topic = made.puts
    keys.write(Writes(tuple(partitions)))
    assert not keys.image.topics
    keys.write(Writes((topic,)))
    assert len(keys.image.topics["t"].partitions) == 3
    assert not keys.image.unlisted
    topic_id = keys.image.topics["t"].topic_id
    keys.write(Writes(deletes=(topic[0],)))
    assert list(keys.image.unlisted[topic_id]) == [0, 1, 2]
    keys.write(Writes(deletes=tuple(key for key, _ in partitions)))
    assert not keys.image.unlisted


def test_a_partition_knows_the_revision_of_its_key() -> None:
    keys = Keys()
    keys.write(create(keys.image, "t", 1, {}, 1))
    topic = keys.image.topics["t"]
    assert topic.partitions[0].revision == 2
    state = topic.partitions[0]._replace(elr=(2,), adding=(3,), removing=(1,), last_known_leader=2)
    keys.write(Writes((changes.partition_key(topic.topic_id, 0, state),)))
    assert keys.image.topics["t"].partitions[0] == state._replace(revision=3)


def test_a_broker_is_known_when_it_is_gone() -> None:
    keys = Keys()
    known = KnownBroker(1, "r", (Endpoint("PLAINTEXT", "h", 9092),), (b"d" * 16,), "boot")
    keys.write(Writes((changes.known_broker_key(known),), (changes.broker_name(1),)))
    assert keys.image.brokers == {}
    assert keys.image.known_brokers == {1: known}
    keys.write(Writes(deletes=(changes.CONTROLLER,)))
    assert (keys.image.controller_id, keys.image.controller_revision) == (-1, 0)
    assert keys.reloaded() == keys.image


def test_what_a_newer_build_writes_beside_is_passed_over() -> None:
    keys = Keys()
    keys.write(create(keys.image, "t", 2, {"retention.ms": "1"}, 1))
    known = KnownBroker(
        1, "r", (Endpoint("PLAINTEXT", "h", 9092),), (b"d" * 16,), "boot", SUPPORTED
    )
    deleting = changes.deleting_key(b"x" * 16, "gone")
    keys.write(Writes((changes.known_broker_key(known), changes.producer_ids_key(7), deleting)))
    before = keys.image
    kinds = {key.partition("/")[0] for key in keys.items}
    fields: dict[str, object] = {"later": {"a": [1, None]}, "LATER": 5}
    newer = []
    for key, value in keys.items.items():
        if not key.startswith("config/"):
            newer.append((key, json.dumps(json.loads(value) | fields).encode()))
    keys.write(Writes((*newer, ("later/1", b"\x00"), ("later", b"{}"), ("config/77/a", b"{"))))
    assert keys.reloaded() == keys.image
    keys.write(Writes(deletes=("later/1", "later", "config/77/a")))
    after = keys.image
    assert kinds >= {"broker", "cluster", "deleting", "partition", "registered", "topic"}
    for field in fields_of(Image):
        if field.name not in (
            "revision",
            "brokers",
            "topics",
            "controller_revision",
            "producer_ids_revision",
        ):
            assert getattr(after, field.name) == getattr(before, field.name)
    assert [each._replace(revision=0) for each in after.brokers.values()] == [
        each._replace(revision=0) for each in before.brokers.values()
    ]
    assert [each._replace(revision=0) for each in after.topics["t"].partitions] == [
        each._replace(revision=0) for each in before.topics["t"].partitions
    ]


def test_the_lasting_keys_of_an_image_make_it_again() -> None:
    """Whoever adds a kind of key has it survive the loss of the store, or says here why not."""
    keys = Keys()
    keys.write(create(keys.image, "t", 3, {"x": "1"}, 1))
    keys.write(create(keys.image, "gone", 1, {}, 2))
    keys.write(controller.delete_topics(keys.image, [keys.image.topics["gone"].topic_id]))
    keys.write(
        Writes(
            (
                changes.cluster_key("c", 4),
                changes.known_broker_key(KnownBroker(1, "r", (), (bytes(16),), "boot")),
                changes.config_key(ConfigResource(ResourceType.BROKER, "1"), {"a": "b"}),
                changes.producer_ids_key(77),
                changes.features_key({"group.version": 1}),
                changes.decided_key(5),
            )
        )
    )
    lasting = dict(at_once(changes.lasting_keys(keys.image)))
    assert lasting == {k: v for k, v in keys.items.items() if changes.is_lasting(k)}
    default = Image()
    lives = {"brokers", "controller_id", "controller_revision", "unlisted"}
    unset = {
        field.name
        for field in fields_of(Image)
        if getattr(keys.image, field.name) == getattr(default, field.name)
    }
    assert unset <= lives, "put a key for it in this test"
