"""Reading what a KRaft controller of Kafka knows, from its `__cluster_metadata-0`.

The directory holds a log of metadata records and perhaps snapshots of it,
`<end offset>-<epoch>.checkpoint`, both made of record batches. A record's value is
framed by three unsigned varints: frame version 1, the kind of record, its
version. Only the few kinds that adoption needs are decoded; all of them are
flexible, so strings and arrays carry their length plus one:

    2   topic             name, topic id
    3   partition         partition, topic id, replicas, isr, removing, adding,
                          leader, leader epoch, partition epoch, (directories)
    4   config            resource type, resource name, name, value or null
    5   partition change  partition, topic id; leader is tag 1, replicas tag 2
    9   remove topic      topic id
    12  feature level     name, level
    15  producer ids      broker, broker epoch, next producer id
    23, 24, 25            begin, end, abort a transaction of metadata records
"""

from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final, NamedTuple

from ottla.model.errors import ApiError, ProtocolError
from ottla.model.ids import BrokerId, LeaderEpoch, PartitionId, ProducerId, TopicName, Uuid
from ottla.model.isolation import ResourceType
from ottla.record.batch import batches, verify_crc
from ottla.record.records import read_records
from ottla.storage import names
from ottla.storage.disk import Disk
from ottla.wire.primitives import read_uvarint

DIRECTORY = "__cluster_metadata-0"

FRAME_VERSION = 1
TOPIC, PARTITION, CONFIG, PARTITION_CHANGE, REMOVE_TOPIC = 2, 3, 4, 5, 9
FEATURE_LEVEL, PRODUCER_IDS = 12, 15
BEGIN, END, ABORT = 23, 24, 25
LEADER_TAG: Final = 1
REPLICAS_TAG: Final = 2
NO_LEADER_CHANGE = -2

_INT8 = Struct(">b")
_INT16 = Struct(">h")
_INT32 = Struct(">i")
_INT64 = Struct(">q")


class KraftError(Exception):
    """The metadata log cannot be understood."""


class KraftPartition(NamedTuple):
    replicas: tuple[BrokerId, ...]
    leader: BrokerId
    leader_epoch: LeaderEpoch


class KraftTopic:
    def __init__(self, name: TopicName, topic_id: Uuid) -> None:
        self.name = name
        self.topic_id = topic_id
        self.partitions: dict[PartitionId, KraftPartition] = {}


class KraftMetadata:
    """The cluster as the records replayed so far describe it."""

    def __init__(self) -> None:
        self.topics: dict[Uuid, KraftTopic] = {}
        self.configs: dict[tuple[int, str], dict[str, str]] = {}
        """By (resource type, resource name)."""
        self.features: dict[str, int] = {}
        self.next_producer_id: ProducerId = 0

    def replay(self, kind: int, version: int, fields: "Fields") -> None:
        """Apply one record; kinds that do not matter here are passed over."""
        if kind in _REPLAY:
            _REPLAY[kind](self, version, fields)

    def _topic(self, version: int, fields: "Fields") -> None:
        name = fields.string()
        topic_id = fields.uuid()
        self.topics[topic_id] = KraftTopic(name, topic_id)

    def _partition(self, version: int, fields: "Fields") -> None:
        number = fields.int32()
        topic = self.topics.get(fields.uuid())
        replicas = tuple(fields.int32s())
        fields.int32s()
        fields.int32s()
        fields.int32s()
        leader, leader_epoch = fields.int32(), fields.int32()
        if topic is not None:
            topic.partitions[number] = KraftPartition(replicas, leader, leader_epoch)

    def _partition_change(self, version: int, fields: "Fields") -> None:
        number = fields.int32()
        topic = self.topics.get(fields.uuid())
        if topic is None or number not in topic.partitions:
            return
        partition = topic.partitions[number]
        tags = fields.tags()
        if LEADER_TAG in tags:
            leader = tags[LEADER_TAG].int32()
            if leader != NO_LEADER_CHANGE:
                epoch = partition.leader_epoch + 1
                partition = partition._replace(leader=leader, leader_epoch=epoch)
        if REPLICAS_TAG in tags:
            partition = partition._replace(replicas=tuple(tags[REPLICAS_TAG].int32s()))
        topic.partitions[number] = partition

    def _remove_topic(self, version: int, fields: "Fields") -> None:
        topic = self.topics.pop(fields.uuid(), None)
        if topic is not None:
            self.configs.pop((ResourceType.TOPIC, topic.name), None)

    def _config(self, version: int, fields: "Fields") -> None:
        resource = (fields.int8(), fields.string())
        name, value = fields.string(), fields.nullable_string()
        configs = self.configs.setdefault(resource, {})
        if value is None:
            configs.pop(name, None)
        else:
            configs[name] = value

    def _feature_level(self, version: int, fields: "Fields") -> None:
        name = fields.string()
        self.features[name] = fields.int16()

    def _producer_ids(self, version: int, fields: "Fields") -> None:
        fields.int32()
        fields.int64()
        self.next_producer_id = max(self.next_producer_id, fields.int64())


_REPLAY: dict[int, Callable[[KraftMetadata, int, "Fields"], None]] = {
    TOPIC: KraftMetadata._topic,
    PARTITION: KraftMetadata._partition,
    PARTITION_CHANGE: KraftMetadata._partition_change,
    REMOVE_TOPIC: KraftMetadata._remove_topic,
    CONFIG: KraftMetadata._config,
    FEATURE_LEVEL: KraftMetadata._feature_level,
    PRODUCER_IDS: KraftMetadata._producer_ids,
}


class Fields:
    """The fields of a record, read in order."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self._data = data
        self._position = position

    def _take(self, size: int) -> bytes:
        start = self._position
        self._position = start + size
        if size < 0 or self._position > len(self._data):
            raise KraftError("a metadata record is cut off")
        return self._data[start : self._position]

    def int8(self) -> int:
        return int(_INT8.unpack(self._take(1))[0])

    def int16(self) -> int:
        return int(_INT16.unpack(self._take(2))[0])

    def int32(self) -> int:
        return int(_INT32.unpack(self._take(4))[0])

    def int64(self) -> int:
        return int(_INT64.unpack(self._take(8))[0])

    def uuid(self) -> Uuid:
        return self._take(16)

    def uvarint(self) -> int:
        try:
            value, self._position = read_uvarint(self._data, self._position)
        except (IndexError, ProtocolError) as error:
            raise KraftError(f"a metadata record has no whole varint: {error}") from None
        return value

    def nullable_string(self) -> str | None:
        size = self.uvarint()
        if size == 0:
            return None
        try:
            return self._take(size - 1).decode()
        except UnicodeDecodeError as error:
            raise KraftError(f"a string of a metadata record is not UTF-8: {error}") from None

    def string(self) -> str:
        text = self.nullable_string()
        if text is None:
            raise KraftError("a string of a metadata record is null")
        return text

    def int32s(self) -> list[int]:
        """Read an array; null counts as empty."""
        size = max(self.uvarint() - 1, 0)
        if size > len(self._data):
            raise KraftError(f"a metadata record counts {size} elements")
        return [self.int32() for _ in range(size)]

    def tags(self) -> dict[int, "Fields"]:
        found = {}
        for _ in range(self.uvarint()):
            tag = self.uvarint()
            found[tag] = Fields(self._take(self.uvarint()))
        return found


def read_metadata(disk: Disk, directory: str) -> KraftMetadata:
    """Replay the newest snapshot and what the log has after it.

    A transaction of records that was not ended counts as aborted.

    Raises:
        KraftError: the files are not those of a KRaft controller.
        OSError: they cannot be read.
    """
    metadata = KraftMetadata()
    entries = disk.list(directory)
    start = 0
    snapshots = [name for name in entries if name.endswith(".checkpoint") and name[:20].isdigit()]
    if snapshots:
        start = int(snapshots[-1][:20])
        _replay_all(metadata, _records(disk, f"{directory}/{snapshots[-1]}"))
    logs = sorted(
        parsed[0]
        for parsed in map(names.parse_offset_file, entries)
        if parsed is not None and parsed[1] == names.LOG
    )
    if not logs:
        raise KraftError(f"{directory} has no log")
    paths = [f"{directory}/{names.offset_file(base, names.LOG)}" for base in logs]
    _replay_all(
        metadata,
        (record for path in paths for record in _records(disk, path) if record[0] >= start),
    )
    return metadata


def _records(disk: Disk, path: str) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, value) of the data records, up to the first bad batch."""
    data = disk.read(path)
    try:
        for header in batches(data):
            if not verify_crc(data, header.position, header.size):
                return
            if not header.is_control:
                for record in read_records(data, header.position):
                    yield record.offset, record.value or b""
    except ApiError as error:
        raise KraftError(f"{path}: {error}") from error


def _replay_all(metadata: KraftMetadata, records: Iterator[tuple[int, bytes]]) -> None:
    waiting: list[tuple[int, int, Fields]] | None = None
    for offset, value in records:
        fields = Fields(value)
        frame, kind, version = fields.uvarint(), fields.uvarint(), fields.uvarint()
        if frame != FRAME_VERSION:
            raise KraftError(f"metadata record at offset {offset} has frame version {frame}")
        if kind == BEGIN:
            waiting = []
        elif kind == ABORT:
            waiting = None
        elif kind == END:
            for held in waiting or ():
                metadata.replay(*held)
            waiting = None
        elif waiting is not None:
            waiting.append((kind, version, fields))
        else:
            metadata.replay(kind, version, fields)
