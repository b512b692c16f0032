"""Compacting logs in the background: the dirtiest first, one at a time.

The work itself is a `CompactionJob` for the workers; what it has written is put
in place here, on the loop, segment by segment.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from ottla.config.broker_config import BrokerConfig
from ottla.model.clock import Clock
from ottla.model.errors import ApiError, StorageError
from ottla.model.workers import Lane, StepWorkers, WorkerDied
from ottla.storage.compaction.choice import Candidate
from ottla.storage.compaction.compactor import Compactor
from ottla.storage.compaction.job import CompactionJob
from ottla.storage.compaction.plan import Cleaned, DamagedLog, Finished
from ottla.storage.compaction.survey import Resources, plan
from ottla.storage.compaction.swap import Swap
from ottla.storage.log import Log
from ottla.storage.logs import Logs
from ottla.storage.removals import FilesJob

LOOKED_AT_PER_TURN = 10
"""Logs; a few milliseconds if each has to be opened."""

log = logging.getLogger("ottla.compaction")


class Compaction:
    """`begin` now and then; each time it goes on until nothing is dirty enough."""

    def __init__(
        self,
        logs: Logs,
        clock: Clock,
        workers: StepWorkers,
        config: Callable[[], BrokerConfig],
        run_files_job: Callable[[FilesJob], None],
        doubt: Callable[[AssertionError], None],
    ) -> None:
        """`doubt` hears of a check that failed: the broker must stop."""
        self._logs = logs
        self._clock = clock
        self._workers = workers
        self._config = config
        self._run_files_job = run_files_job
        self._doubt = doubt
        self._compactor = Compactor(logs)
        self._compactor.load()
        self._round: asyncio.Task[None] | None = None
        self._failed: dict[Log, None] = {}
        """Not tried again in this round."""

    def begin(self) -> None:
        """Start a round, unless one is under way."""
        config = self._config()
        if not config.log_cleaner_enable or config.log_cleaner_threads == 0:
            return
        if self._round is None or self._round.done():
            self._round = asyncio.get_running_loop().create_task(self._all())

    async def close(self) -> None:
        """Stop; what was written and not put in place yet is lost labour."""
        if self._round is not None:
            self._round.cancel()
            await asyncio.wait([self._round])

    async def _all(self) -> None:
        self._failed.clear()
        try:
            for job in self._compactor.forget_deleted():
                self._run_files_job(job)
            while (found := await self._dirtiest()) is not None:
                await self._compact(*found)
        except AssertionError as error:
            self._doubt(error)
        except Exception:
            log.exception("compaction failed; it is tried again")

    async def _dirtiest(self) -> tuple[Log, Candidate] | None:
        best: tuple[Log, Candidate] | None = None
        now_ms = self._clock.now_ms()
        for looked_at, (found, dirt) in enumerate(self._compactor.candidates(now_ms), 1):
            due = dirt.is_due(found.config.min_cleanable_dirty_ratio)
            first = best is None or dirt.dirty_ratio > best[1].dirty_ratio
            if due and first and found not in self._failed:
                best = found, dirt
            if looked_at % LOOKED_AT_PER_TURN == 0:
                await asyncio.sleep(0)
        return best

    async def _compact(self, chosen: Log, dirt: Candidate) -> None:
        self._logs.compacting[chosen] = None
        try:
            await self._do(chosen, dirt)
        except DamagedLog as error:
            self._compactor.damaged(chosen, str(error))
        except WorkerDied as error:
            self._failed[chosen] = None
            log.warning("compaction of %s: %s", chosen.path, error)
        except (OSError, ApiError, StorageError) as error:
            self._failed[chosen] = None
            if not self._is_there(chosen):
                return
            try:
                if isinstance(error, OSError):
                    chosen.directory.refuse(error, f"compaction of {chosen.path}")
                log.warning("compaction of %s: %s", chosen.path, error)
            except (ApiError, StorageError):
                pass  # it has been said
        finally:
            del self._logs.compacting[chosen]

    def _is_there(self, chosen: Log) -> bool:
        return self._logs.get(chosen.partition) is chosen and chosen.directory.is_online

    async def _do(self, chosen: Log, dirt: Candidate) -> None:
        now_ms = self._clock.now_ms()
        config = self._config()
        threads = config.log_cleaner_threads
        generation = chosen.generation
        resources = Resources(
            key_map_bytes=config.log_cleaner_dedupe_buffer_size // threads,
            load_factor=config.log_cleaner_io_buffer_load_factor,
            buffer_bytes=config.log_cleaner_io_buffer_size // threads // 2,
        )
        planned = plan(chosen, dirt, now_ms, resources)
        begun = self._compactor.begun(chosen)
        if begun is not None:
            try:
                await self._workers.submit(Lane.UPKEEP, begun.run)
            except StorageError as error:
                chosen.directory.go_offline(str(error))
                raise
        made: asyncio.Queue[Cleaned | Finished | None] = asyncio.Queue()
        stale = False

        def told(result: Cleaned | Finished) -> bool:
            made.put_nowait(result)
            return not stale

        running = asyncio.ensure_future(
            self._workers.run_steps(
                CompactionJob(chosen.directory.disk, planned),
                told,
                config.log_cleaner_io_max_bytes_per_second,
            )
        )
        running.add_done_callback(lambda future: made.put_nowait(None))
        try:
            while (result := await made.get()) is not None:
                if isinstance(result, Finished):
                    self._finished(chosen, dirt, result)
                elif not await self._swap(Swap(chosen, generation, result)):
                    stale = True
                    break
        finally:
            running.cancel()
            await asyncio.wait([running])
        if stale:
            self._failed[chosen] = None
        elif not running.cancelled():
            running.result()

    async def _swap(self, swap: Swap) -> bool:
        """Put one segment in place; return False when its log is not what it was."""
        chosen = swap.log
        directory = chosen.directory
        staged = False
        try:
            if self._is_there(chosen) and swap.is_current():
                swap.stage()
                await self._sync(chosen)
                staged = self._is_there(chosen) and swap.is_current()
        finally:
            if not staged:
                swap.drop()
        if not staged:
            return False
        now_ms = self._clock.now_ms()
        try:
            replaced = swap.put_in_place(now_ms)
        except BaseException as error:
            directory.go_offline(f"compaction of {chosen.path}: {error!r}")
            raise
        self._logs.remove_later(chosen, replaced, now_ms)
        try:
            await self._sync(chosen)
        except asyncio.CancelledError:
            directory.disk.sync_directory(chosen.path)
            swap.finish()
            raise
        if self._is_there(chosen):
            swap.finish()
            await self._sync(chosen)
        return True

    async def _sync(self, chosen: Log) -> None:
        disk, path = chosen.directory.disk, chosen.path
        with contextlib.suppress(FileNotFoundError):  # it was deleted meanwhile
            await self._workers.submit(Lane.UPKEEP, lambda: disk.sync_directory(path))

    def _finished(self, chosen: Log, dirt: Candidate, result: Finished) -> None:
        if not self._is_there(chosen):
            return
        if result.end_offset <= dirt.first_dirty_offset:
            self._compactor.damaged(
                chosen,
                "the keys of one batch do not fit the map: raise log.cleaner.dedupe.buffer.size",
            )
            return
        log.info(
            "%s is compacted up to offset %d: %d of %d bytes and %d of %d records stay",
            chosen.partition,
            result.end_offset,
            result.bytes_after,
            result.bytes_before,
            result.records_after,
            result.records_before,
        )
        self._run_files_job(self._compactor.done(chosen, result.end_offset))
