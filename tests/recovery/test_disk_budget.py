"""`log.dir.max.bytes` on the real disk: five times as much passes through."""

import asyncio
from pathlib import Path

from tests.support.raw_client import RawClient
from tests.support.witness import (
    FETCH_VERSION,
    PRODUCE_VERSION,
    batch,
    create_topic,
    fetch_request,
    produce_request,
)
from tools.subject import Ottla

from ottla.client.sockets import Sockets

LIMIT = 8 << 20
SETTINGS = {
    "log.dir.max.bytes": str(LIMIT),
    "log.segment.bytes": str(1 << 20),
    "log.retention.ms": "9000000000000000",
}
VALUE = b"." * 100_000


def held(data: Path) -> int:
    """Bytes of segments, those that wait to be removed too."""
    total = 0
    for path in data.glob("rides-*/*.log*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue  # removed meanwhile
    return total


def test_a_topic_that_may_lose_records_stays_within_the_limit(tmp_path: Path) -> None:
    broker = Ottla(tmp_path / "data", settings=SETTINGS)
    broker.start()

    async def write() -> None:
        async with asyncio.timeout(60):
            client = await RawClient.connect(Sockets(), "127.0.0.1", broker.port)
            configs = {"retention.ms": "9000000000000000"}
            assert await create_topic(client, "rides", **configs) == 0
            written = refused = 0
            while written < 5 * LIMIT // len(VALUE):
                response = await client.call(
                    produce_request("rides", batch(VALUE)), PRODUCE_VERSION
                )
                (row,) = response.responses[0].partition_responses
                assert row.error_code in (0, 56)
                if row.error_code:
                    refused += 1
                    await asyncio.sleep(0.05)  # as a client waits before it tries again
                else:
                    assert row.base_offset == written
                    written += 1
                assert held(broker.data) <= LIMIT
            fetched = await client.call(fetch_request("rides", written - 1), FETCH_VERSION)
            assert fetched.responses[0].partitions[0].error_code == 0
            assert fetched.responses[0].partitions[0].log_start_offset > 0
            client.transport.close()

    try:
        asyncio.run(write())
        broker.stop()
    finally:
        broker.kill9()
