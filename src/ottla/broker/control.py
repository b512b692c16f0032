"""Metadata changes: decided one after the other, written together, answered once followed.

While one transaction is being written, further changes queue. They are decided
in the order in which they came, each on the image that the ones before it will
make, and go into the next transaction together: a hundred clients that create
topics wait for a few commits, not for a hundred. All of a transaction is done or
nothing, so whoever was decided on what was not done fails along, refusals too.

A decision that deletes keys has a transaction of its own, behind the others:
nobody follows an image in which what was just created is gone again.

A partition's leader changes its state, too: whoever decided on an older one decides
again. What does not fit in one transaction is written in portions.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, NoReturn

from ottla.broker.image_follower import ImageFollower
from ottla.handlers.slices import in_slices
from ottla.metadata.changes import CONTROLLER, KeyValue, apply, decided_key, merge
from ottla.metadata.controller import Writes
from ottla.metadata.features import COUNTS_DECISIONS, OTTLA_VERSION, level
from ottla.metadata.image import Image
from ottla.metadata.portions import portions
from ottla.metadata.store import Changes, Compare, Put, Revision, Store
from ottla.model.clock import Clock
from ottla.model.errors import ApiError, ErrorCode, PeerError, StorageError
from ottla.model.ids import BrokerId
from ottla.model.steps import Steps

Decide = Callable[[Image], tuple[Writes, Any] | Steps[tuple[Writes, Any]]]

MAX_KEYS = 100
"""Once a transaction has so many, no further change joins it: deciding holds the loop."""

LONG_MS = 1_000
"""Who waited so long behind an attempt that the store fails waits for none of its own."""

MAX_TRIES = 20
"""So often a change is decided anew because of what partitions' leaders did meanwhile."""


class _Asked(NamedTuple):
    decide: Decide
    answer: asyncio.Future[Any]
    since_ms: int = 0
    tries: int = 0


class _Decided(NamedTuple):
    """`outcome` is the answer, or what the decision raised; it counts if the writes are done."""

    asked: _Asked
    outcome: Any
    writes: Writes

    def settle(self) -> None:
        if self.asked.answer.done():
            return
        if isinstance(self.outcome, Exception):
            self.asked.answer.set_exception(self.outcome)
        else:
            self.asked.answer.set_result(self.outcome)

    def fail(self, error: Exception) -> None:
        if not self.asked.answer.done():
            self.asked.answer.set_exception(error)
            # Who asked may have been cancelled as the one who carried it out.
            self.asked.answer.exception()


class Control:
    """The controller's hands: it holds the lock, the store and the follower."""

    def __init__(
        self,
        store: Store,
        follower: ImageFollower,
        broker_id: BrokerId,
        clock: Clock,
        *,
        counts: bool = False,
    ) -> None:
        """`clock` is the transport clock, by which long decisions are cut into slices.

        With `counts`, what is written says how many decisions there were: a store that others
        keep may be set back behind our back.
        """
        self._store = store
        self._follower = follower
        self._broker_id = broker_id
        self._clock = clock
        self._lock = asyncio.Lock()
        self._asked: deque[_Asked] = deque()
        self._in_doubt = False
        self._closed = False
        self._counts = counts

    @property
    def is_controller(self) -> bool:
        """Whether this broker decides, as far as it knows: every transaction compares that."""
        return self._follower.image.controller_id == self._broker_id

    def close(self) -> None:
        """Decide nothing any more."""
        self._closed = True

    async def change(self, decide: Decide) -> Any:
        """Decide, write, and return the decision's answer once this broker follows it.

        Raises:
            ApiError: the decision was to refuse; NOT_CONTROLLER, somebody else controls, or
                this broker stops; REQUEST_TIMED_OUT, the store could not be reached, or
                UNKNOWN_SERVER_ERROR, it failed, and the outcome is unknown.
        """
        answer = asyncio.get_running_loop().create_future()
        asked = _Asked(decide, answer, self._clock.now_ms())
        self._asked.append(asked)
        async with self._lock:  # whoever has it writes for others, too
            while not asked.answer.done():
                await self._carry_out()
        return await asked.answer

    async def _carry_out(self) -> None:
        """Decide and write what has been asked for, the oldest at least; all of that is answered."""
        together: list[_Decided] = []
        alone: list[_Decided] = []
        error: Exception = ApiError(ErrorCode.UNKNOWN_SERVER_ERROR)
        try:
            try:
                await self._learn()
                image = self._follower.image
                await self._decide(image, together, alone)
                await self._write(image, together)
                await self._write(self._follower.image, alone)
            except (StorageError, PeerError) as failure:
                code = ErrorCode.UNKNOWN_SERVER_ERROR
                if isinstance(failure, PeerError):  # as who asks through another broker is told
                    code = ErrorCode.REQUEST_TIMED_OUT
                error = ApiError(code, f"the metadata store failed: {failure}")
                error.__cause__ = failure
                if not together and not alone:
                    together.append(_Decided(self._asked.popleft(), error, Writes()))
                long_ago_ms = self._clock.now_ms() - LONG_MS
                while self._asked and self._asked[0].since_ms <= long_ago_ms:
                    together.append(_Decided(self._asked.popleft(), error, Writes()))
            except _StaleError as stale:
                self._again(stale, together, alone)
            except ApiError as refusal:
                error = refusal
        finally:
            for decided in (*together, *alone):
                decided.fail(error)

    def _again(self, stale: "_StaleError", together: list[_Decided], alone: list[_Decided]) -> None:
        """Ask again what nothing was written of."""
        waiting = [each.asked for each in (*together, *alone) if not each.asked.answer.done()]
        together.clear()
        alone.clear()
        for asked in reversed(waiting):
            if asked.tries < MAX_TRIES:
                self._asked.appendleft(asked._replace(tries=asked.tries + 1))
            else:
                asked.answer.set_exception(ApiError(ErrorCode.REQUEST_TIMED_OUT, str(stale)))

    async def _learn(self) -> None:
        """What a transaction of unknown outcome did is learnt before the next is decided."""
        if self._in_doubt:
            await self._follower.reached((await self._store.load()).revision)
            self._in_doubt = False

    async def _decide(self, image: Image, together: list[_Decided], alone: list[_Decided]) -> None:
        """Decide the oldest changes; those that wait for no transaction have their answer."""
        keys = 0
        most = min(MAX_KEYS, self._store.max_keys)
        unseen: tuple[KeyValue, ...] = ()
        while self._asked and keys < most and not alone:
            asked = self._asked.popleft()
            if unseen:
                image, unseen = _after(image, unseen), ()
            decided = await self._decision(asked, image)
            writes = decided.writes
            if writes.deletes:
                alone.append(decided)
            elif writes.puts or together:
                together.append(decided)
                keys += len(writes.puts)
                unseen = writes.puts
            else:
                decided.settle()

    async def _decision(self, asked: _Asked, image: Image) -> _Decided:
        if self._closed or image.controller_id != self._broker_id:
            return _Decided(asked, ApiError(ErrorCode.NOT_CONTROLLER), Writes())
        try:
            decision = asked.decide(image)
            if not isinstance(decision, tuple):
                decision = await in_slices(self._clock, decision)
            writes, answer = decision
        except Exception as error:  # for whoever asked, as if it had been raised there
            return _Decided(asked, error, Writes())
        except BaseException:  # who carries out was cancelled: the others must not wait for ever
            _Decided(asked, None, Writes()).fail(ApiError(ErrorCode.UNKNOWN_SERVER_ERROR))
            raise
        return _Decided(asked, answer, writes)

    async def _write(self, image: Image, decisions: list[_Decided]) -> None:
        """Do all that was decided on `image`, and answer.

        Raises:
            ApiError: NOT_CONTROLLER, somebody else controls; nothing was done.
            _StaleError: a partition has changed; nothing was done, or it is to be done again.
            StorageError, PeerError: the outcome is unknown.
        """
        if not decisions:
            return
        puts = merge(put for decided in decisions for put in decided.writes.puts)
        if self._counts and level(image.features, OTTLA_VERSION) >= COUNTS_DECISIONS:
            puts.append(decided_key(image.decisions + 1))
        deletes = [key for decided in decisions for key in decided.writes.deletes]
        controls = Compare(CONTROLLER, image.controller_revision)
        revision = 0
        for portion in portions(image, puts, deletes, self._store.max_keys - 1):
            self._in_doubt = True
            result = await self._store.transact(
                [controls, *portion.compare], portion.puts, portion.deletes
            )
            self._in_doubt = False
            revision = result.revision
            if not result.ok:
                await self._refused(image, revision)
        await self._follower.reached(revision)
        for decided in decisions:
            decided.settle()

    async def _refused(self, image: Image, revision: Revision) -> NoReturn:
        await self._follower.reached(revision)
        if self._follower.image.controller_revision != image.controller_revision:
            raise ApiError(ErrorCode.NOT_CONTROLLER)
        raise _StaleError("partitions change faster than it can be decided about them")


class _StaleError(Exception):
    """It was decided on what has changed meanwhile."""


def _after(image: Image, puts: Iterable[KeyValue]) -> Image:
    """The image that these puts will make of `image`."""
    revision = image.revision + 1
    made = tuple(Put(key, value, revision) for key, value in puts)
    return apply(image, Changes(revision, made, ()))[0]
