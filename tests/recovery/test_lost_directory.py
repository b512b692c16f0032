"""A broker whose only log directory is gone does not go on as if nothing had been."""

import asyncio
from pathlib import Path

from tests.support.raw_client import RawClient
from tests.support.witness import PRODUCE_VERSION, batch, create_topic, produce_request
from tools.subject import Ottla, until

from ottla.client.sockets import Sockets
from ottla.model.errors import ErrorCode


def test_without_any_log_directory_the_process_ends_with_status_one(tmp_path: Path) -> None:
    broker = Ottla(tmp_path / "data")
    broker.start()

    async def lose() -> int:
        async with asyncio.timeout(60):
            client = await RawClient.connect(Sockets(), "127.0.0.1", broker.port)
            assert await create_topic(client, "rides") == 0
            (tmp_path / "data").rename(tmp_path / "elsewhere")
            await create_topic(client, "drivers")
            request = produce_request("drivers", batch(b"never acknowledged"))
            response = await client.call(request, PRODUCE_VERSION)
            client.transport.close()
            code: int = response.responses[0].partition_responses[0].error_code
            return code

    try:
        assert asyncio.run(lose()) == ErrorCode.KAFKA_STORAGE_ERROR
        until("the broker has ended", lambda: not broker.running())
        assert broker.exit_status == 1
        assert "every log directory is offline" in broker.log_tail()
    finally:
        broker.kill9()
