"""librdkafka itself, by ctypes: a client in C that no Python slows down.

The library is the one that comes inside the confluent-kafka wheel. Only the
few calls that a load needs are here: produce a batch of records whose bytes
are shared, flush, consume and count.
"""

import ctypes
from itertools import cycle
from pathlib import Path

import confluent_kafka

PRODUCER = 0
CONSUMER = 1
OFFSET_BEGINNING = -2
BLOCK_WHEN_FULL = 0x4
CONF_OK = 0
ERROR_BYTES = 512


class Message(ctypes.Structure):
    """rd_kafka_message_t."""

    _fields_ = (
        ("err", ctypes.c_int),
        ("rkt", ctypes.c_void_p),
        ("partition", ctypes.c_int32),
        ("payload", ctypes.c_void_p),
        ("len", ctypes.c_size_t),
        ("key", ctypes.c_void_p),
        ("key_len", ctypes.c_size_t),
        ("offset", ctypes.c_int64),
        ("private", ctypes.c_void_p),
    )


DELIVERED = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(Message), ctypes.c_void_p)


def _library() -> ctypes.CDLL:
    folder = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
    (path,) = folder.glob("librdkafka-*.so*")
    library = ctypes.CDLL(str(path))
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    for name, returns, takes in (
        ("rd_kafka_conf_new", pointer, ()),
        ("rd_kafka_conf_set", ctypes.c_int, (pointer,) + (ctypes.c_char_p,) * 3 + (size,)),
        ("rd_kafka_conf_set_dr_msg_cb", None, (pointer, DELIVERED)),
        ("rd_kafka_new", pointer, (ctypes.c_int, pointer, ctypes.c_char_p, size)),
        ("rd_kafka_topic_new", pointer, (pointer, ctypes.c_char_p, pointer)),
        (
            "rd_kafka_produce_batch",
            ctypes.c_int,
            (pointer, ctypes.c_int32, ctypes.c_int, pointer, ctypes.c_int),
        ),
        ("rd_kafka_flush", ctypes.c_int, (pointer, ctypes.c_int)),
        ("rd_kafka_poll", ctypes.c_int, (pointer, ctypes.c_int)),
        ("rd_kafka_outq_len", ctypes.c_int, (pointer,)),
        ("rd_kafka_queue_new", pointer, (pointer,)),
        (
            "rd_kafka_consume_start_queue",
            ctypes.c_int,
            (pointer, ctypes.c_int32, ctypes.c_int64, pointer),
        ),
        (
            "rd_kafka_consume_callback_queue",
            ctypes.c_int,
            (pointer, ctypes.c_int, pointer, pointer),
        ),
        ("rd_kafka_consume_stop", ctypes.c_int, (pointer, ctypes.c_int32)),
        ("rd_kafka_queue_destroy", None, (pointer,)),
        ("rd_kafka_topic_destroy", None, (pointer,)),
        ("rd_kafka_destroy", None, (pointer,)),
    ):
        function = getattr(library, name)
        function.restype = returns
        function.argtypes = takes
    return library


RD = _library()


def _handle(kind: int, settings: dict[str, str], conf: int | None = None) -> int:
    conf = conf or RD.rd_kafka_conf_new()
    error = ctypes.create_string_buffer(ERROR_BYTES)
    for name, value in settings.items():
        if RD.rd_kafka_conf_set(conf, name.encode(), value.encode(), error, ERROR_BYTES) != CONF_OK:
            raise ValueError(error.value.decode())
    handle = RD.rd_kafka_new(kind, conf, error, ERROR_BYTES)
    if not handle:
        raise RuntimeError(error.value.decode())
    return int(handle)


class BulkProducer:
    """Sends many records that all have the same bytes."""

    def __init__(self, settings: dict[str, str], topic: str) -> None:
        self.failed = 0
        self._delivered = DELIVERED(self._on_failure)
        conf = RD.rd_kafka_conf_new()
        RD.rd_kafka_conf_set_dr_msg_cb(conf, self._delivered)
        self._handle = _handle(PRODUCER, {**settings, "delivery.report.only.error": "true"}, conf)
        self._topic = RD.rd_kafka_topic_new(self._handle, topic.encode(), None)

    def _on_failure(self, handle: int, message: object, opaque: int) -> None:
        self.failed += 1

    def send(
        self,
        count: int,
        value: bytes,
        partitions: int = 1,
        batch: int = 1_000,
        *,
        keyed: bool = False,
    ) -> None:
        """Hand over `count` records, a batch to each partition in turn.

        With `keyed`, the records of a batch have keys, the same in each batch. Waits whenever the
        queue is full. To choose a partition for each record would be most of what the client does.
        """
        shared = ctypes.create_string_buffer(value, len(value))
        messages = (Message * batch)()
        keys = [ctypes.create_string_buffer(b"key-%d" % number) for number in range(batch)]
        for message, key in zip(messages, keys, strict=True):
            message.payload = ctypes.cast(shared, ctypes.c_void_p)
            message.len = len(value)
            if keyed:
                message.key = ctypes.cast(key, ctypes.c_void_p)
                message.key_len = len(key)
        for partition in cycle(range(partitions)):
            if not count:
                break
            size = min(batch, count)
            taken = RD.rd_kafka_produce_batch(
                self._topic, partition, BLOCK_WHEN_FULL, messages, size
            )
            if taken != size:
                raise RuntimeError(f"librdkafka took {taken} of {size} records")
            RD.rd_kafka_poll(self._handle, 0)
            count -= size
        self._shared = shared, keys

    def flush(self, timeout_s: float) -> None:
        """Wait until every record is acknowledged.

        Raises:
            RuntimeError: some are not in time, or failed.
        """
        RD.rd_kafka_flush(self._handle, int(timeout_s * 1000))
        left = RD.rd_kafka_outq_len(self._handle)
        if left or self.failed:
            raise RuntimeError(f"{left} records unanswered, {self.failed} failed")

    def close(self) -> None:
        """Free it."""
        RD.rd_kafka_topic_destroy(self._topic)
        RD.rd_kafka_destroy(self._handle)


class BulkConsumer:
    """Counts records of all partitions of a topic, from the beginning.

    librdkafka calls a C function for each record; ours is libc's getpid, which
    takes no arguments and has no effect, so that a record costs no Python.
    """

    def __init__(self, settings: dict[str, str], topic: str, partitions: int) -> None:
        self._nothing = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p)
        self._handle = _handle(CONSUMER, settings)
        self._topic = RD.rd_kafka_topic_new(self._handle, topic.encode(), None)
        self._queue = RD.rd_kafka_queue_new(self._handle)
        self._partitions = range(partitions)

    def start(self) -> None:
        """Begin to fetch."""
        for partition in self._partitions:
            RD.rd_kafka_consume_start_queue(self._topic, partition, OFFSET_BEGINNING, self._queue)

    def count(self, timeout_ms: int = 1000) -> int:
        """How many records have come since the last call, waiting for the first."""
        return int(RD.rd_kafka_consume_callback_queue(self._queue, timeout_ms, self._nothing, None))

    def close(self) -> None:
        """Stop and free it."""
        for partition in self._partitions:
            RD.rd_kafka_consume_stop(self._topic, partition)
        RD.rd_kafka_queue_destroy(self._queue)
        RD.rd_kafka_topic_destroy(self._topic)
        RD.rd_kafka_destroy(self._handle)
