"""What the disk made of a batch is served as it is: its checksum tells the reader."""

from tests.simulation.test_directories import produce
from tests.support.simulated_world import World, simulate
from tests.support.witness import FETCH_VERSION, create_topic, fetch_request

from ottla.model.errors import ErrorCode
from ottla.record.batch import HEADER_SIZE, verify_crc

SEGMENT = "/data/rides-0/00000000000000000000.log"


def test_a_fetch_never_signs_a_batch_anew() -> None:
    """Every bit under the checksum and of it: the bytes of the file come, and do not verify."""

    async def flip(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await create_topic(client, "rides") == 0
        assert await produce(client, "rides", b"a value") == 0
        data = world.disk.files[SEGMENT].data
        for bit in range(17 * 8, len(data) * 8):
            data[bit // 8] ^= 1 << bit % 8
            response = await client.call(fetch_request("rides", 0, max_wait_ms=0), FETCH_VERSION)
            (row,) = response.responses[0].partitions
            assert row.error_code == 0
            assert bytes(row.records) == data
            assert not verify_crc(bytes(row.records))
            data[bit // 8] ^= 1 << bit % 8
        await world.stop()

    simulate(flip, seed=1)


def test_a_fetch_of_a_restarted_broker_serves_what_is_there_or_says_that_nothing_is() -> None:
    """Outside the checksum too: the bytes of the file, or CORRUPT_MESSAGE."""

    async def write(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await create_topic(client, "rides") == 0
        for value in (b"a", b"b"):
            await produce(client, "rides", value)
        await world.stop()

    async def flip(world: World) -> None:
        await world.start()
        client = await world.client()
        data = world.disk.files[SEGMENT].data
        served = 0
        for bit in range(HEADER_SIZE * 8):
            data[bit // 8] ^= 1 << bit % 8
            response = await client.call(fetch_request("rides", 0, max_wait_ms=0), FETCH_VERSION)
            (row,) = response.responses[0].partitions
            records = bytes(row.records or b"")
            assert row.error_code in (0, ErrorCode.CORRUPT_MESSAGE), bit
            assert records in data, bit
            # Under the checksum nothing says to the broker that it is not what it was.
            assert records or row.error_code or bit < 17 * 8, bit
            served += bool(records)
            data[bit // 8] ^= 1 << bit % 8
        assert served > HEADER_SIZE * 8 // 2
        assert world.broker is not None
        assert world.broker.logs.directories[0].is_online
        await world.stop()

    simulate(write, flip, seed=1)
