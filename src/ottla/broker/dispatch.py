"""From a frame to its answer: decode, run the handler, encode; errors become codes.

The hot path makes no task and, beyond the message itself, one `Context`. A
handler that is a coroutine function is *blocking*: the next request of its
connection starts when it has answered. It begins at once, and only if it has to
wait a task is made for the rest: most commits, heartbeats and ends of
transactions never wait.

An assertion that fails is no error of one request: this broker is wrong about
its own state. Then there is no answer, and `doubt` stops the broker.
"""

import asyncio
import logging
import struct
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from ottla.handlers.api_versions import unsupported_version
from ottla.handlers.context import BrokerViews, Client, Context, Reply
from ottla.handlers.failures import failure
from ottla.handlers.registry import served
from ottla.model.errors import ProtocolError
from ottla.model.parts import Parts
from ottla.net.connection import Connection, Outcome
from ottla.wire.apis import API
from ottla.wire.message import Message
from ottla.wire.primitives import skip_tagged

API_VERSIONS = 18

_HEADER = struct.Struct(">hhih")

_UNANSWERED = "the broker is in doubt about its own state"

log = logging.getLogger("ottla.dispatch")


class Dispatcher:
    def __init__(self, views: BrokerViews, doubt: Callable[[AssertionError], None]) -> None:
        self._views = views
        self._doubt = doubt
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(self, connection: Connection, frame: memoryview) -> Outcome:
        """Serve one request (`net/connection.py` says what comes back).

        Raises:
            ProtocolError: it cannot be read, or asks for what there is not.
        """
        client: Client = connection.owner
        try:
            key, version, correlation_id, id_length = _HEADER.unpack_from(frame)
        except struct.error:
            raise ProtocolError(f"a request of {len(frame)} bytes has no header") from None
        position = 10
        client_id: str | None = None
        if id_length >= 0:
            position += id_length
            client_id = client.client_id
            if client_id is None or frame[10:position] != client.client_id_bytes:
                client_id = _new_client_id(client, frame, position)
        api = served(key, version)
        if api is None:
            return self._unsupported(connection, client, key, version, correlation_id)
        if api.flexible_request:
            position = _skip_tags(frame, position)
        if api.shortcut is not None:
            answer: Outcome
            try:
                answer = api.shortcut(
                    self._views, client, connection, api, correlation_id, client_id, frame, position
                )
            except AssertionError as error:
                self._doubt(error)
                raise ProtocolError(_UNANSWERED) from error
            except Exception as error:
                # What it did before is not known: it is not done again.
                request, _ = api.read(frame, position)
                context = Context(self._views, client, connection, api, correlation_id, client_id)
                return _frame(context, request, failure(context, request, error))
            if answer is not None:
                return answer
        # Bytes behind the message are left alone, as by Kafka: librdkafka sends three with some.
        request, _ = api.read(frame, position)
        context = Context(self._views, client, connection, api, correlation_id, client_id)
        try:
            response = api.serve(context, request)
        except ProtocolError:
            raise
        except AssertionError as error:
            self._doubt(error)
            raise ProtocolError(_UNANSWERED) from error
        except Exception as error:
            response = failure(context, request, error)
        if isinstance(response, Message):
            return _frame(context, request, response)
        if response is None:
            return None
        if isinstance(response, Reply):
            return response.pending
        return self._later(context, request, response)

    def _unsupported(
        self, connection: Connection, client: Client, key: int, version: int, correlation_id: int
    ) -> Outcome:
        """Only ApiVersions has an answer to a version we do not know."""
        if key != API_VERSIONS:
            raise ProtocolError(f"API key {key}, version {version} is not supported")
        api = served(API_VERSIONS, 0)
        assert api is not None
        context = Context(self._views, client, connection, api, correlation_id, None)
        info = API[API_VERSIONS]
        return context.frame(unsupported_version((info.min_version, info.max_version)))

    def _later(
        self,
        context: Context,
        request: Message,
        response: Coroutine[Any, Any, Message | bytearray | None],
    ) -> Outcome:
        try:
            waited_for = response.send(None)
        except StopIteration as done:
            return None if done.value is None else _frame(context, request, done.value)
        except ProtocolError:
            raise
        except AssertionError as error:
            self._doubt(error)
            raise ProtocolError(_UNANSWERED) from error
        except Exception as error:
            return _frame(context, request, failure(context, request, error))
        # What it still reads of its frame must not be overwritten by the next one.
        context.connection.detach()
        reply = context.later(blocking=True)
        task = asyncio.get_running_loop().create_task(
            self._finish(context, request, _rest(response, waited_for), reply)
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return reply.pending

    async def _finish(
        self,
        context: Context,
        request: Message,
        response: Coroutine[Any, Any, Message | bytearray | None],
        reply: Reply,
    ) -> None:
        answer: Message | bytearray | None
        try:
            try:
                answer = await response
            except ProtocolError:
                raise
            except AssertionError as error:
                self._doubt(error)
                raise ProtocolError(_UNANSWERED) from error
            except Exception as error:
                answer = failure(context, request, error)
            if not reply.abandoned:
                reply.pending.answer(None if answer is None else _frame(context, request, answer))
        except ProtocolError as error:
            context.connection.break_off(str(error))

    async def close(self) -> None:
        """Wait for what is still running."""
        while self._tasks:
            await asyncio.wait(self._tasks)


@types.coroutine
def _rest(
    begun: Coroutine[Any, Any, Message | bytearray | None], waited_for: object
) -> Generator[Any, Any, Message | bytearray | None]:
    """What is left of a coroutine that waits for something."""
    while True:
        try:
            yield waited_for
        except BaseException as thrown:
            try:
                waited_for = begun.throw(thrown)
            except StopIteration as done:
                answer: Message | bytearray | None = done.value
                return answer
        else:
            answer = yield from begun
            return answer


def _new_client_id(client: Client, frame: memoryview, end: int) -> str:
    """The client's name, when it is not the one of its last request."""
    if end > len(frame):
        raise ProtocolError("the client id ends behind its request")
    raw = bytes(frame[10:end])
    try:
        client.client_id = raw.decode()
    except UnicodeDecodeError:
        raise ProtocolError("the client id is not UTF-8") from None
    client.client_id_bytes = raw
    return client.client_id


def _skip_tags(frame: memoryview, position: int) -> int:
    try:
        count = frame[position]
        position += 1
        return skip_tagged(frame, position, len(frame), count) if count else position
    except IndexError:
        raise ProtocolError("the request ends within its header") from None


def _frame(context: Context, request: Message, response: Message | bytearray) -> Parts:
    """The answer's bytes; one that its version cannot carry is our mistake, and answered as such."""
    try:
        return context.frame(response)
    except ValueError as error:
        return context.frame(failure(context, request, error))
