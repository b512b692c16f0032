"""`python -m tools.proof.copiers.with_aiokafka`: copy one partition with aiokafka until killed.

Its transactions do not say which member of the group they speak for, so that a group could not
hand its partitions over safely: each copier has a partition of its own, and a transactional id.
"""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OutOfOrderSequenceNumber, ProducerFenced
from tools.proof.copiers.arguments import Job, job_from_command_line


async def rewind(consumer: AIOKafkaConsumer, place: TopicPartition) -> None:
    """Go back to what is committed, which is 0 where nothing was copied yet.

    aiokafka 0.14 does not look at the error of the whole answer: while the coordinator loads it
    says that nothing is committed. Then it is asked again.
    """
    while (offset := await consumer.committed(place)) is None:
        print("no committed offset, or no answer; asking again", file=sys.stderr, flush=True)
        await asyncio.sleep(0.05)
    consumer.seek(place, offset)


async def copy(job: Job, producer: AIOKafkaProducer, records: list[ConsumerRecord]) -> None:
    """Send the records and where they end; not yet the end of the transaction."""
    sent = [
        await producer.send(job.target, record.value, record.key, record.partition)
        for record in records
    ]
    await asyncio.gather(*sent)
    place = TopicPartition(job.source, job.partition)
    await producer.send_offsets_to_transaction({place: records[-1].offset + 1}, job.group)


async def run(job: Job) -> None:
    """Copy until killed. Raises KafkaError: it cannot go on."""
    producer = AIOKafkaProducer(
        bootstrap_servers=job.bootstrap,
        transactional_id=job.transactional_id,
        transaction_timeout_ms=job.transaction_timeout_ms,
        enable_idempotence=True,
        retry_backoff_ms=20,
    )
    # First: what the producer before had open is over before the offsets are asked for.
    await producer.start()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=job.bootstrap,
        group_id=job.group,
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        retry_backoff_ms=20,
        fetch_max_wait_ms=100,
    )
    place = TopicPartition(job.source, job.partition)
    consumer.assign([place])
    await consumer.start()
    await rewind(consumer, place)
    number = 0
    while True:
        came = await consumer.getmany(place, timeout_ms=200, max_records=job.transaction_size)
        records = came.get(place, [])
        if not records:
            continue
        number += 1
        aborts = job.abort_every > 0 and number % job.abort_every == 0
        await producer.begin_transaction()
        try:
            await copy(job, producer, records)
        except (ProducerFenced, OutOfOrderSequenceNumber):
            raise
        except KafkaError as problem:
            print(repr(problem), file=sys.stderr, flush=True)
            aborts = True
        if aborts:
            await producer.abort_transaction()
            await rewind(consumer, place)
        else:
            await producer.commit_transaction()


if __name__ == "__main__":
    asyncio.run(run(job_from_command_line()))
