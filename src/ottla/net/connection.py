"""The core of one connection: bytes in, requests out; answers in, bytes out in order.

No I/O happens here. The shell (`net/transport.py`) asks `get_buffer()` where to
receive, says `received(n)`, and sends what it finds in `output`. Frames are an
int32 size and then that many bytes, in both directions.

A request is *served* by a callable that returns one of

* a list of buffers: the answer, a whole frame, ready to leave;
* `None`: there is no answer (a produce with acks=0);
* a `Pending`: the answer comes later. While a *blocking* one waits, nothing
  further is served; behind an *effective* one the next request may start.

What always holds:

* Answers leave in the order of their requests.
* A frame is a view of the receive buffer and valid until the serving callable
  returns. Who must keep it calls `detach()`: the buffer goes with the request and
  the connection continues with a fresh one. A buffer with a holder is never
  moved, resized or reused.
* The receive buffer grows with the bytes that have come, not with the bytes that
  were promised.
* Reading stops while MAX_UNANSWERED requests wait, while the peer does not take
  its answers, and while a turn's share is used up.
"""

import struct
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

from ottla.model.errors import ProtocolError
from ottla.model.parts import Parts

MAX_UNANSWERED = 1000
MAX_REQUESTS_PER_TURN = 64
TURN_MS = 1
LOOK_AT_CLOCK = 7
"""A mask: the clock is looked at before every eighth request of a turn."""
FIRST_BUFFER_SIZE = 4096
COMFORTABLE_BUFFER_SIZE = 256 * 1024
POISON = 0xDD

_SIZE = struct.Struct(">i")


class Pending:
    """The place in the queue of one request whose answer comes later."""

    __slots__ = ("_answered", "_begin", "_connection", "_parts", "blocking")

    def __init__(self, connection: "Connection", *, blocking: bool) -> None:
        self.blocking = blocking
        self._connection: Connection | None = connection
        self._answered = False
        self._parts: Parts | None = None
        self._begin: Callable[[], None] | None = None

    def answer(self, parts: Parts | None) -> None:
        """Give the answer, or None where there is none. Once only; ignored after a close."""
        assert not self._answered
        self._answered = True
        self._parts = parts
        if self._connection is not None:
            self._connection.answered(self)

    def begin_at_head(self, begin: Callable[[], None]) -> None:
        """Call `begin`, which leads to `answer`, once every earlier answer has left.

        A fetch takes its bytes there, so that answers queued behind a slow one hold no memory.
        """
        self._begin = begin
        if self._connection is not None:
            self._connection.answered(self)

    def forget(self) -> None:
        """The connection is gone: the work goes on, its answer is dropped."""
        self._connection = None
        self._begin = None
        self._parts = None

    @property
    def abandoned(self) -> bool:
        """Nobody waits for the answer any more."""
        return self._connection is None


Outcome: TypeAlias = Parts | Pending | None
Serve: TypeAlias = Callable[["Connection", memoryview], Outcome]


class BufferBudget:
    """What all large receive buffers may take together.

    Who holds the most goes first when it is used up: a peer that sends half of a
    huge request and waits must not keep others from sending theirs.
    """

    def __init__(self, limit: int, evict: Callable[["Connection"], None]) -> None:
        """`evict` closes a connection; small buffers are not counted."""
        self.limit = limit
        self.used = 0
        self._evict = evict
        self._large: dict[Connection, int] = {}

    def resized(self, connection: "Connection", old: int, new: int) -> None:
        """A connection is about to have a buffer of `new` bytes in place of its `old` one."""
        if new > COMFORTABLE_BUFFER_SIZE:
            self._large[connection] = new
        elif self._large.pop(connection, 0) == 0:
            return
        self.used += (new if new > COMFORTABLE_BUFFER_SIZE else 0) - (
            old if old > COMFORTABLE_BUFFER_SIZE else 0
        )
        while self.used > self.limit and len(self._large) > 1:
            largest = max(self._large, key=self._large.__getitem__)
            if largest is connection:
                return
            self._evict(largest)
            assert largest not in self._large


class AnswerBudget:
    """What all answers that were made and not yet taken by their peers may hold together.

    Each connection has one large answer at most. Where many peers do not take theirs,
    whoever makes an answer of a size of its own choosing asks here how large it may be.
    """

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    @property
    def left(self) -> int:
        return max(0, self.limit - self.used)


class Connection:
    """One client's byte streams, cut into requests and answers."""

    def __init__(
        self,
        serve: Serve,
        *,
        now_ms: Callable[[], int],
        wake: Callable[[], None],
        max_request_size: int,
        budget: "BufferBudget | None" = None,
        poison: bool = False,
    ) -> None:
        """`wake` is called when answers or a turn are due outside `received` and `turn`."""
        self.bytes_received = 0
        self.requests_served = 0
        self.output: Parts = []
        self.output_paused = False
        self.closed = False
        self.owner: Any = None
        """Whom the serving callable finds behind this connection."""
        self._serve = serve
        self._now_ms = now_ms
        self._wake = wake
        self._max_request_size = max_request_size
        self._budget = budget
        self._poison = poison
        self._buffer = bytearray(FIRST_BUFFER_SIZE)
        self._view = memoryview(self._buffer)
        self._start = 0  # of the first byte not served yet
        self._end = 0  # of the bytes received
        self._queue: deque[Pending] = deque()
        self._blocked = False
        self._stopped = False
        self._broken_off: str | None = None
        self._running = False
        self._frame_end = 0
        self._detached = False

    # Receiving

    def get_buffer(self) -> memoryview:
        """Where to receive; never empty while `wants_read`."""
        if self._end == len(self._buffer):
            self._make_room()
        return self._view[self._end :]

    def received(self, count: int) -> bool:
        """Take note of `count` received bytes and serve what is whole; see `turn`."""
        self._end += count
        self.bytes_received += count
        return self.turn()

    @property
    def needs_turn(self) -> bool:
        """Whether bytes wait to be served, or the connection to be ended."""
        return self._start != self._end or self._broken_off is not None

    @property
    def progress(self) -> int:
        """Grows with requests served and with every 64 KiB: a dribble of bytes is no progress."""
        return self.requests_served + (self.bytes_received >> 16)

    @property
    def buffer_size(self) -> int:
        return len(self._buffer)

    @property
    def wants_read(self) -> bool:
        """Whether the shell should receive; when not, backpressure reaches the peer."""
        if self.closed or self.output_paused:
            return False
        if self._start == self._end and not self._queue:
            return True
        if len(self._queue) >= MAX_UNANSWERED:
            return False
        return self._end - self._start < self._wanted_size() or self._end < len(self._buffer)

    @property
    def unanswered(self) -> int:
        return len(self._queue)

    def _wanted_size(self) -> int:
        """How many bytes there may be before the next request is served."""
        if self._end - self._start >= 4:
            (size,) = _SIZE.unpack_from(self._buffer, self._start)
            # A size that will be refused is not worth a byte more, however long its turn takes.
            if 0 <= size <= self._max_request_size:
                return 4 + int(size)
        return 4

    def _make_room(self) -> None:
        """Move what is left to the front, or to a larger buffer, so that there is room behind it."""
        held = self._end - self._start
        wanted = self._wanted_size()
        size = len(self._buffer)
        if wanted > size:
            # Never more than twice what has really come: a promised size costs nothing.
            size = max(size, min(wanted, max(2 * held, COMFORTABLE_BUFFER_SIZE)))
        elif size < COMFORTABLE_BUFFER_SIZE:
            size *= 2
        if size == len(self._buffer):
            self._view[:held] = self._view[self._start : self._end]
            self._start, self._end = 0, held
        else:
            self._replace_buffer(size, self._start)

    def _replace_buffer(self, size: int, start: int) -> None:
        """Continue with a new buffer that holds what was received from `start` on."""
        rest = self._view[start : self._end]
        if self._budget is not None:
            self._budget.resized(self, len(self._buffer), size)
        buffer = bytearray(size)
        self._view = memoryview(buffer)
        self._view[: len(rest)] = rest
        self._buffer = buffer
        self._start, self._end = 0, len(rest)

    def shrink(self) -> None:
        """Give a large buffer back; for a connection that was idle a while."""
        if self._start == self._end and len(self._buffer) > FIRST_BUFFER_SIZE:
            self._replace_buffer(FIRST_BUFFER_SIZE, self._end)

    def detach(self) -> None:
        """The request being served keeps its frame: continue with a fresh buffer."""
        if self._detached:
            return
        self._detached = True
        size = FIRST_BUFFER_SIZE
        while size < self._end - self._frame_end:
            size *= 2
        self._replace_buffer(size, self._frame_end)

    # Serving

    def turn(self) -> bool:
        """Serve whole requests, a turn's share at most.

        Returns whether another turn is due.

        Raises:
            ProtocolError: the peer must be disconnected; a size that cannot be, a request that
                cannot be read.
        """
        if self._running or self.closed:
            return False
        if self._broken_off is not None:
            raise ProtocolError(self._broken_off)
        self._running = True
        try:
            return self._serve_frames()
        finally:
            self._running = False

    def _serve_frames(self) -> bool:
        served = 0
        until = 0
        while not self._blocked and not self.closed:
            if self._end - self._start < 4:
                break
            (size,) = _SIZE.unpack_from(self._buffer, self._start)
            if size < 0 or size > self._max_request_size:
                raise ProtocolError(f"a request of {size} bytes; at most {self._max_request_size}")
            frame_start = self._start + 4
            frame_end = frame_start + size
            if frame_end > self._end:
                break
            if self.output_paused or len(self._queue) >= MAX_UNANSWERED:
                return False
            # The clock is asked now and then: few turns are long enough to need it.
            if served and not served & LOOK_AT_CLOCK:
                now_ms = self._now_ms()
                until = until or now_ms + TURN_MS
                if now_ms > until or served >= MAX_REQUESTS_PER_TURN:
                    return True
            served += 1
            self.requests_served += 1
            self._serve_one(frame_start, frame_end)
        if self._start == self._end:
            self._start = self._end = 0
        return False

    def _serve_one(self, frame_start: int, frame_end: int) -> None:
        frame = self._view[frame_start:frame_end]
        self._frame_end = frame_end
        self._detached = False
        outcome = self._serve(self, frame)
        if not self._detached:
            self._start = frame_end
            if self._poison:
                frame[:] = bytes([POISON]) * len(frame)
        if outcome is None:
            return
        if type(outcome) is list:
            if not self._queue:
                self.output += outcome
                return
            pending = Pending(self, blocking=False)
            pending._answered, pending._parts = True, outcome
            self._queue.append(pending)
            return
        assert isinstance(outcome, Pending)
        self._queue.append(outcome)
        self._blocked = outcome.blocking
        self._drain()

    def stop_serving(self) -> None:
        """Serve no further request; those that were taken are still answered."""
        self._stopped = self._blocked = True

    # Answering

    def answered(self, pending: Pending) -> None:
        """`pending` has its answer, or is ready to begin one."""
        if self.closed or not self._queue or self._queue[0] is not pending:
            return
        self._drain()
        if not self._running:
            self._wake()

    def _drain(self) -> None:
        """Let the answers leave that are next in order."""
        queue = self._queue
        while queue:
            head = queue[0]
            if not head._answered:
                if head._begin is None:
                    return
                begin, head._begin = head._begin, None
                begin()
                if not head._answered or not queue or queue[0] is not head:
                    return
            queue.popleft()
            if head.blocking:
                self._blocked = self._stopped
            if head._parts is not None:
                self.output += head._parts

    def break_off(self, reason: str) -> None:
        """A request that was taken turns out to leave no answer but the end of the connection."""
        self._broken_off = reason
        self._wake()

    def close(self) -> None:
        """Drop every waiting answer; the work behind them goes on."""
        if not self.closed and self._budget is not None:
            self._budget.resized(self, len(self._buffer), 0)
        self.closed = True
        for pending in self._queue:
            pending.forget()
        self._queue.clear()
        self.output.clear()
        self._blocked = False
