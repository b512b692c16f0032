"""Metadata changes: decided one after the other, written together, answered once followed.

While one transaction is being written, further changes queue. They are decided
in the order in which they came, each on the image that the ones before it will
make, and go into the next transaction together: a hundred clients that create
topics wait for a few commits, not for a hundred. All of a transaction is done or
nothing, so whoever was decided on what was not done fails along, refusals too.

A decision that deletes keys has a transaction of its own, behind the others:
nobody follows an image in which what was just created is gone again.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ottla.broker.image_follower import ImageFollower
from ottla.metadata.changes import CONTROLLER, KeyValue, apply, merge
from ottla.metadata.controller import Writes
from ottla.metadata.image import Image
from ottla.metadata.store import Changes, Compare, Put, Revision, Store
from ottla.model.errors import ApiError, ErrorCode, PeerError, StorageError

Decide = Callable[[Image], tuple[Writes, Any]]

MAX_KEYS = 100
"""Once a transaction has so many, no further change joins it: deciding holds the loop."""


class _Asked(NamedTuple):
    decide: Decide
    answer: asyncio.Future[Any]


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


class Control:
    """The controller's hands: it holds the lock, the store and the follower."""

    def __init__(self, store: Store, follower: ImageFollower) -> None:
        self._store = store
        self._follower = follower
        self._lock = asyncio.Lock()
        self._asked: deque[_Asked] = deque()
        self.controller_revision: Revision = 0
        """Of the key that says who controls; every transaction compares it."""
        self._in_doubt = False
        self._closed = False

    def close(self) -> None:
        """Decide nothing any more."""
        self._closed = True

    async def change(self, decide: Decide) -> Any:
        """Decide, write, and return the decision's answer once this broker follows it.

        Raises:
            ApiError: the decision was to refuse; NOT_CONTROLLER, somebody else controls, or
                this broker stops; UNKNOWN_SERVER_ERROR, the store failed and the outcome is
                unknown.
        """
        asked = _Asked(decide, asyncio.get_running_loop().create_future())
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
                self._decide(together, alone)
                await self._write(together)
                await self._write(alone)
            except (StorageError, PeerError) as failure:
                error = ApiError(
                    ErrorCode.UNKNOWN_SERVER_ERROR, f"the metadata store failed: {failure}"
                )
                error.__cause__ = failure
                if not together and not alone:
                    together.append(_Decided(self._asked.popleft(), error, Writes()))
            except ApiError as refusal:
                error = refusal
        finally:
            for decided in (*together, *alone):
                decided.fail(error)

    async def _learn(self) -> None:
        """What a transaction of unknown outcome did is learnt before the next is decided."""
        if self._in_doubt:
            await self._follower.reached((await self._store.load()).revision)
            self._in_doubt = False

    def _decide(self, together: list[_Decided], alone: list[_Decided]) -> None:
        """Decide the oldest changes; those that wait for no transaction have their answer."""
        image = self._follower.image
        keys = 0
        unseen: tuple[KeyValue, ...] = ()
        while self._asked and keys < MAX_KEYS and not alone:
            asked = self._asked.popleft()
            if unseen:
                image, unseen = _after(image, unseen), ()
            decided = self._decision(asked, image)
            writes = decided.writes
            if writes.deletes:
                alone.append(decided)
            elif writes.puts or together:
                together.append(decided)
                keys += len(writes.puts)
                unseen = writes.puts
            else:
                decided.settle()

    def _decision(self, asked: _Asked, image: Image) -> _Decided:
        if self._closed:
            return _Decided(asked, ApiError(ErrorCode.NOT_CONTROLLER), Writes())
        try:
            writes, answer = asked.decide(image)
        except Exception as error:  # for whoever asked, as if it had been raised there
            return _Decided(asked, error, Writes())
        return _Decided(asked, answer, writes)

    async def _write(self, changes: list[_Decided]) -> None:
        """Do all of it in one transaction, and answer.

        Raises:
            ApiError: NOT_CONTROLLER, somebody else controls; nothing was done.
            StorageError, PeerError: the outcome is unknown.
        """
        if not changes:
            return
        puts = merge(put for decided in changes for put in decided.writes.puts)
        deletes = [key for decided in changes for key in decided.writes.deletes]
        self._in_doubt = True
        result = await self._store.transact(
            [Compare(CONTROLLER, self.controller_revision)], puts, deletes
        )
        self._in_doubt = False
        if not result.ok:
            raise ApiError(ErrorCode.NOT_CONTROLLER)
        await self._follower.reached(result.revision)
        for decided in changes:
            decided.settle()


def _after(image: Image, puts: Iterable[KeyValue]) -> Image:
    """The image that these puts will make of `image`."""
    revision = image.revision + 1
    made = tuple(Put(key, value, revision) for key, value in puts)
    return apply(image, Changes(revision, made, ()))[0]
