"""The store of a single node: one local SQLite file, in a thread of its own.

The loop puts jobs into a queue; the thread takes all that are waiting, does
them in order in one SQLite transaction, and answers once that is on disk. So a
hundred callers wait for one flush, not for a hundred.

A full disk fails the jobs of that group and leaves the file as it was. After
any other failure the outcome is unknown, and the store refuses everything until
it is opened anew.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar, TypeVarTuple

from ottla.metadata.store import (
    NO_LIMIT,
    Changes,
    Compare,
    LeaseId,
    LeaseNotFoundError,
    Revision,
    Snapshot,
    TransactResult,
)
from ottla.metadata.store_feed import Feed
from ottla.metadata.store_leases import Leases
from ottla.metadata.store_request import Request
from ottla.metadata.store_sqlite_file import MetadataFile
from ottla.model.clock import Clock
from ottla.model.errors import StorageError

FILE_NAME = "metadata.sqlite"
"""In the first log directory."""

MAX_GROUP = 1_000
"""Jobs in one commit."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _Job(NamedTuple):
    """`work` returns its result and what it changed; the future gets the result."""

    work: Callable[[MetadataFile], tuple[Any, Changes | None]]
    future: asyncio.Future[Any]


class _Done(NamedTuple):
    future: asyncio.Future[Any]
    result: Any
    changes: Changes | None
    error: Exception | None


class SqliteStore:
    """A `Store`. The file is opened, or made, by the thread; `opened` tells how that went.

    If it cannot be opened, every call raises that StorageError.
    """

    max_keys = NO_LIMIT
    identity = ""

    def __init__(self, path: str, clock: Clock) -> None:
        """Begin to open the file; `clock` (transport) rules the leases."""
        self.path = path
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._closed = False
        self._leases = Leases(clock, self._expire)
        self._feed = Feed(0)
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._opened.add_done_callback(_forget_error)
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="ottla-metadata", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, path: str, clock: Clock) -> "SqliteStore":
        """Return the store once its file is open.

        Raises:
            StorageError: it is corrupt, not ours, of a newer Ottla, in use, or cannot be opened.
        """
        store = cls(path, clock)
        try:
            await store.opened()
        except BaseException:
            await store.close()
            raise
        return store

    async def opened(self) -> None:
        """Wait until the file is open; raise StorageError if it cannot be."""
        await asyncio.shield(self._opened)

    async def load(self) -> Snapshot:
        return await self._ask(lambda file: (file.load(), None))

    async def watch(self, after_revision: Revision, /) -> AsyncIterator[Changes]:
        await self.opened()
        async for changes in self._feed.watch(after_revision):
            yield changes

    async def transact(
        self,
        compare: Iterable[Compare],
        puts: Iterable[tuple[str, bytes]],
        deletes: Iterable[str] = (),
        *,
        leases: Mapping[str, LeaseId] | None = None,
    ) -> TransactResult:
        request = Request.checked(compare, puts, deletes, leases)
        return await self._ask(lambda file: file.transact(request))

    async def compact(self, revision: Revision, /) -> None:
        self._feed.forget(revision)

    async def grant_lease(self, ttl_ms: int, /) -> LeaseId:
        lease = await self._ask(lambda file: (file.grant_lease(ttl_ms), None))
        self._leases.start(lease, ttl_ms)
        return lease

    async def keep_alive(self, lease: LeaseId, /) -> None:
        self._leases.keep_alive(lease)

    async def revoke_lease(self, lease: LeaseId, /) -> None:
        self._leases.end(lease)
        await self._ask(lambda file: (None, file.end_lease(lease)))

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._leases.close()
            self._jobs.put(None)
        await asyncio.shield(self._ended)
        self._thread.join()

    def _ask(self, work: Callable[[MetadataFile], tuple[T, Changes | None]]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closed:
            future.set_exception(StorageError("the metadata store is closed"))
        else:
            self._jobs.put(_Job(work, future))
        return future

    def _expire(self, lease: LeaseId) -> None:
        done = self._ask(lambda file: (None, file.end_lease(lease)))
        done.add_done_callback(_forget_error)

    # What follows is called on the loop, by the thread.

    def _deliver(self, group: list[_Done]) -> None:
        for done in group:
            if done.changes is not None:
                self._feed.publish(done.changes)
        for done in group:
            _answer(done.future, done.result, done.error)

    def _open(self, revision: Revision, leases: dict[LeaseId, int]) -> None:
        self._feed = Feed(revision)
        if not self._closed:
            for lease, ttl_ms in leases.items():
                self._leases.start(lease, ttl_ms)
        _answer(self._opened, None, None)

    def _end(self, error: StorageError | None) -> None:
        self._feed.close()
        _answer(self._ended, None, error)

    # What follows runs in the thread.

    def _run(self) -> None:
        try:
            try:
                file = MetadataFile(self.path)
                revision, leases = file.revision, file.leases()
            except StorageError as error:
                self._tell(_answer, self._opened, None, error)
                self._serve(None, error)
                self._tell(self._end, None)
                return
            self._tell(self._open, revision, leases)
            self._serve(file, None)
            closing_error: StorageError | None = None
            try:
                file.close()
            except StorageError as error:
                closing_error = error
            self._tell(self._end, closing_error)
        except RuntimeError:
            if not self._loop.is_closed():  # else nobody is there to be told
                raise

    def _tell(self, callback: Callable[[*Ts], None], *arguments: *Ts) -> None:
        self._loop.call_soon_threadsafe(callback, *arguments)

    def _serve(self, file: MetadataFile | None, broken: Exception | None) -> None:
        """Do jobs until the store closes; once it is `broken`, only fail them."""
        group: list[_Job] = []
        while self._take(group):
            if file is not None and broken is None:
                done, broken = _do(file, group)
            else:
                done = [_Done(job.future, None, None, broken) for job in group]
            self._tell(self._deliver, done)
            group = []

    def _take(self, group: list[_Job]) -> bool:
        """Wait for a job, and add all that wait; False when the store closes and none is left."""
        job = self._jobs.get()
        while job is not None:
            group.append(job)
            if len(group) == MAX_GROUP:
                return True
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return True
        if group:
            self._jobs.put(None)
        return bool(group)


def _do(file: MetadataFile, group: list[_Job]) -> tuple[list[_Done], Exception | None]:
    """Do the jobs in one commit; return their outcomes, and why the file may not be used again."""
    done: list[_Done] = []
    try:
        file.begin()
        for job in group:
            try:
                result, changes = job.work(file)
                done.append(_Done(job.future, result, changes, None))
            except LeaseNotFoundError as error:
                done.append(_Done(job.future, None, None, error))
        file.commit()
        return done, None
    except Exception as error:
        failure = error if isinstance(error, StorageError) else StorageError(repr(error))
        is_full = file.is_full
        try:
            file.roll_back()
        except StorageError:
            is_full = False
        return [_Done(job.future, None, None, failure) for job in group], (
            None if is_full else failure
        )


def _answer(future: asyncio.Future[Any], result: object, error: Exception | None) -> None:
    if future.done():  # whoever waited was cancelled
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


def _forget_error(future: asyncio.Future[None]) -> None:
    """A lease that ran out has nobody to tell; the next caller meets the same error."""
    if not future.cancelled():
        future.exception()
