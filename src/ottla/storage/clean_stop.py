"""`ottla-clean-stop`: what each log looked like when the broker stopped cleanly.

With it ten thousand logs are known at once and each is opened on first use.
The file is ours alone; Kafka ignores it. Text, one log a line:

    1 <nonce> <highest producer id> <n> <CRC-32C of everything before and after it>
    <topic> <partition> <topic id> <the numbers of LogSummary, in order> <high watermark>

It counts only while `.kafka_cleanshutdown` carries the same nonce as its broker
epoch: a Kafka that ran on the directory since has left a marker of its own.
"""

from collections.abc import Mapping
from typing import NamedTuple

from ottla.model.ids import Offset, ProducerId, TopicPartition, Uuid, uuid_from_text, uuid_text
from ottla.record.checksum import crc32c
from ottla.storage.checkpoints import CheckpointError
from ottla.storage.log import LogSummary

FILE = "ottla-clean-stop"
VERSION = "1"


class StoppedLog(NamedTuple):
    topic_id: Uuid
    summary: LogSummary
    high_watermark: Offset


def clean_stop_text(
    nonce: int, highest_producer_id: ProducerId, logs: Mapping[TopicPartition, StoppedLog]
) -> bytes:
    head = f"{VERSION} {nonce} {highest_producer_id} {len(logs)}"
    lines = []
    for (topic, partition), (topic_id, summary, high_watermark) in logs.items():
        numbers = " ".join(map(str, (*summary, high_watermark)))
        lines.append(f"{topic} {partition} {uuid_text(topic_id)} {numbers}")
    lines.append("")
    body = "\n".join(lines)
    return f"{head} {_checksum(head, body)}\n{body}".encode()


def _checksum(head: str, body: str) -> str:
    whole = f"{head}\n{body}".encode()
    return f"{crc32c(whole):08x}"


def parse_clean_stop(
    data: bytes, nonce: int
) -> tuple[ProducerId, dict[TopicPartition, StoppedLog]]:
    """Return the highest producer id, and what each log was like.

    Raises:
        CheckpointError: it is not whole, or not of the stop that `nonce` marks.
    """
    first, _, body = data.decode("ascii", "replace").partition("\n")
    head, _, checksum = first.rpartition(" ")
    lines = body.split("\n")
    try:
        version, marked, highest, count = head.split(" ")
        highest_producer_id = int(highest)
    except ValueError:
        raise CheckpointError(f"no head: {first[:80]!r}") from None
    if checksum != _checksum(head, body):
        raise CheckpointError("its checksum is wrong")
    if (version, marked, count) != (VERSION, str(nonce), str(len(lines) - 1)):
        raise CheckpointError("not of the last clean stop")
    found: dict[TopicPartition, StoppedLog] = {}
    ids: dict[str, Uuid] = {}
    try:
        for line in lines[:-1]:
            topic, partition, text, *fields = line.split(" ")
            topic_id = ids.get(text)
            if topic_id is None:
                topic_id = ids[text] = uuid_from_text(text)
            *numbers, high_watermark = map(int, fields)
            found[TopicPartition(topic, int(partition))] = StoppedLog(
                topic_id, LogSummary(*numbers), high_watermark
            )
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{line!r}: {error}") from None
    return highest_producer_id, found
