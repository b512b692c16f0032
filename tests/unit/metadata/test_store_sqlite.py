"""What the SQLite store promises beyond the contract: about its file."""

import asyncio
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import ottla
from ottla.metadata.store_sqlite import SqliteStore
from ottla.metadata.store_sqlite_file import APPLICATION_ID, LAYOUT, MetadataFile
from ottla.model.errors import StorageError
from ottla.testing.clock import ManualClock


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "metadata.sqlite")


def with_store(path: str, case: Callable[[SqliteStore], Awaitable[None]]) -> None:
    async def run() -> None:
        store = await SqliteStore.open(path, ManualClock())
        try:
            await case(store)
        finally:
            await store.close()

    asyncio.run(run())


async def put_a_thousand(store: SqliteStore) -> None:
    await store.transact([], [(f"key/{i:04}", b"value %d" % i) for i in range(1_000)])


async def load(store: SqliteStore) -> None:
    await store.load()


def test_a_closed_store_is_one_file(path: str) -> None:
    with_store(path, put_a_thousand)
    assert [file.name for file in Path(path).parent.iterdir()] == ["metadata.sqlite"]


def test_of_many_keys_put_at_once_each_keeps_its_own_create_revision(path: str) -> None:
    async def case(store: SqliteStore) -> None:
        await put_a_thousand(store)
        keys = [f"key/{number:04}" for number in range(500, 1_500)]
        await store.transact([], [(key, b"again") for key in keys])
        versions = (await store.load()).versions
        assert [versions[key].create_revision for key in keys] == [1] * 500 + [2] * 500
        assert {versions[key].mod_revision for key in keys} == {2}
        await store.transact([], [], [*keys, "no such key"])
        assert list((await store.load()).items) == [f"key/{number:04}" for number in range(500)]

    with_store(path, case)


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: str) -> None:
    Path(path).write_bytes(b"not a database, " * 1_000)
    with pytest.raises(StorageError, match="not a database"):
        with_store(path, load)
    assert Path(path).read_bytes() == b"not a database, " * 1_000


def test_a_database_of_somebody_else_is_refused_and_left_alone(path: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    before = Path(path).read_bytes()
    with pytest.raises(StorageError, match="is not a metadata store of Ottla"):
        with_store(path, load)
    assert Path(path).read_bytes() == before


def test_a_file_of_a_newer_ottla_is_refused(path: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE keys (key)")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {LAYOUT + 1}")
    connection.close()
    with pytest.raises(StorageError, match=f"has layout {LAYOUT + 1}"):
        with_store(path, load)


def test_a_file_in_use_is_refused(path: str) -> None:
    async def case(store: SqliteStore) -> None:
        with pytest.raises(StorageError, match="locked"):
            await SqliteStore.open(path, ManualClock())
        await store.transact([], [("a", b"")])

    with_store(path, case)


def test_a_path_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="unable to open"):
        with_store(str(tmp_path / "absent" / "metadata.sqlite"), load)


def test_a_store_that_cannot_be_opened_says_so_to_every_call(path: str) -> None:
    Path(path).write_bytes(b"not a database, " * 1_000)

    async def run() -> None:
        store = SqliteStore(path, ManualClock())
        for _ in range(2):
            with pytest.raises(StorageError, match="not a database"):
                await store.load()
            with pytest.raises(StorageError, match="not a database"):
                await anext(store.watch(0))
        await store.close()

    asyncio.run(run())


def test_a_store_can_be_used_before_it_is_open(path: str) -> None:
    async def run() -> None:
        store = SqliteStore(path, ManualClock())
        watch = store.watch(0)
        seen = asyncio.ensure_future(anext(watch))
        assert (await store.transact([], [("a", b"")])).revision == 1
        assert (await seen).revision == 1
        await store.close()

    asyncio.run(run())


def test_any_flipped_bit_in_a_value_is_noticed(path: str) -> None:
    with_store(path, put_a_thousand)
    sound = bytearray(Path(path).read_bytes())
    position = sound.index(b"value 500")
    sound[position] ^= 1
    Path(path).write_bytes(sound)
    with pytest.raises(StorageError, match="bad checksum of the key 'key/0500'"):
        with_store(path, load)


def test_a_zeroed_page_is_noticed(path: str) -> None:
    with_store(path, put_a_thousand)
    damaged = bytearray(Path(path).read_bytes())
    damaged[3 * 4096 : 4 * 4096] = bytes(4096)
    Path(path).write_bytes(damaged)
    with pytest.raises(StorageError, match=r"corrupt|malformed"):
        with_store(path, load)


def test_a_file_cut_short_is_noticed(path: str) -> None:
    with_store(path, put_a_thousand)
    Path(path).write_bytes(Path(path).read_bytes()[: 4 * 4096])
    with pytest.raises(StorageError, match=r"corrupt|malformed"):
        with_store(path, load)


def test_creation_cut_short_by_a_crash_is_done_again(path: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    with_store(path, put_a_thousand)


def test_waiting_transactions_share_a_commit(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    commits: list[int] = []
    commit = MetadataFile.commit

    def counted(file: MetadataFile) -> None:
        commits.append(file.revision)
        commit(file)

    monkeypatch.setattr(MetadataFile, "commit", counted)

    async def case(store: SqliteStore) -> None:
        results = await asyncio.gather(*(store.transact([], [(f"{i}", b"")]) for i in range(500)))
        assert [result.revision for result in results] == list(range(1, 501))

    with_store(path, case)
    assert len(commits) < 50


def test_the_lease_of_one_caller_does_not_fail_the_others_of_its_commit(path: str) -> None:
    async def case(store: SqliteStore) -> None:
        results = await asyncio.gather(
            store.transact([], [("a", b"")]),
            store.transact([], [("b", b"")], leases={"b": 7}),
            store.transact([], [("c", b"")]),
            return_exceptions=True,
        )
        assert [isinstance(result, Exception) for result in results] == [False, True, False]
        assert list((await store.load()).items) == ["a", "c"]

    with_store(path, case)


def test_a_caller_that_gave_up_does_not_stop_its_transaction(path: str) -> None:
    async def case(store: SqliteStore) -> None:
        given_up = asyncio.ensure_future(store.transact([], [("a", b"")]))
        await asyncio.sleep(0)
        given_up.cancel()
        assert list((await store.load()).items) == ["a"]

    with_store(path, case)


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """The kernel refuses to make any file of this process longer (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)


def test_after_a_failed_write_the_store_refuses_until_opened_anew(path: str) -> None:
    async def run() -> None:
        store = await SqliteStore.open(path, ManualClock())
        await store.transact([], [("a", b"1")])
        with files_no_longer_than(64 * 1024), pytest.raises(StorageError, match="cannot"):
            await store.transact([], [("a", b"2" * 200_000)])
        with pytest.raises(StorageError):
            await store.transact([], [("b", b"")])
        await store.close()
        store = await SqliteStore.open(path, ManualClock())
        assert (await store.load()).items == {"a": b"1"}
        await store.close()

    asyncio.run(run())


def test_a_full_disk_fails_the_transaction_and_nothing_else(path: str) -> None:
    """`max_page_count` gives SQLITE_FULL, as a full disk does."""

    def limit(file: MetadataFile, pages: int) -> None:
        file._connection.execute(f"PRAGMA max_page_count = {pages}")

    async def case(store: SqliteStore) -> None:
        await store.transact([], [("a", b"1")])
        await store._ask(lambda file: (limit(file, 20), None))
        with pytest.raises(StorageError, match="full"):
            await store.transact([], [("a", b"2" * 200_000)])
        assert (await store.load()).items == {"a": b"1"}
        await store._ask(lambda file: (limit(file, 2_000), None))
        assert (await store.transact([], [("a", b"2" * 200_000)])).revision == 2

    with_store(path, case)


def test_sqlite_is_imported_only_when_a_store_is_opened() -> None:
    code = (
        "import sys, ottla.metadata.store_sqlite;"
        "sys.exit('sqlite3' in sys.modules or '_sqlite3' in sys.modules)"
    )
    source = str(Path(ottla.__file__).parents[1])
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": source}).returncode == 0
