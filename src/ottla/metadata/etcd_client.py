"""Calls to etcd: at one of its members, within a deadline, known to be the same etcd.

A call that may be made twice goes to the next member when one fails, until its
deadline. One that may not (a transaction) does so only while it surely was not
sent; otherwise its outcome is unknown.
"""

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from ottla.metadata.etcd_deadline import DeadlineError, within
from ottla.metadata.etcd_endpoints import Endpoints
from ottla.metadata.etcd_errors import EtcdError, error_of
from ottla.metadata.etcd_http import HttpConnection, LostError, NotSentError
from ottla.metadata.etcd_lineage import Lineage
from ottla.metadata.etcd_messages import JsonObject, decode, header
from ottla.metadata.etcd_options import Endpoint, EtcdOptions, TlsFiles
from ottla.model.clock import Clock
from ottla.model.errors import PeerError, StorageError
from ottla.net.network import Network

MAX_CALLS = 16
"""Under way at once, each with a connection of its own; more wait. Watches come on top."""

RETRY_PAUSE_MS = 100
"""After every member failed."""

_AUTHENTICATE = "auth/authenticate"


class EtcdClient:
    """Used by one event loop."""

    def __init__(self, options: EtcdOptions, network: Network, clock: Clock) -> None:
        """`clock` (transport) rules the deadlines.

        Raises:
            ValueError: an endpoint is not a URL.
            StorageError: a file for TLS cannot be used.
        """
        parsed = options.parsed_endpoints()
        self.endpoints = Endpoints(parsed, options.first_endpoint)
        self.lineage = Lineage()
        self.answers = 0
        """How many calls were answered so far."""

        self._options = options
        self._network = network
        self._clock = clock
        self._tls = _context(options.tls, parsed)
        self._token: str | None = None
        self._logging_in = asyncio.Lock()
        self._slots = asyncio.Semaphore(MAX_CALLS)
        self._idle: dict[Endpoint, list[HttpConnection]] = {endpoint: [] for endpoint in parsed}
        self._busy: set[HttpConnection] = set()
        self._pauses: set[asyncio.Future[None]] = set()
        self._calls = 0
        self._no_calls = asyncio.Event()
        self._no_calls.set()
        self.is_closed = False

    async def call(
        self,
        path: str,
        body: JsonObject,
        *,
        may_repeat: bool,
        is_linearizable: bool = True,
        only: Endpoint | None = None,
    ) -> JsonObject:
        """Return etcd's answer to a POST of `body` to /v3/`path`; `only` names the one to ask.

        Raises:
            EtcdError: etcd refuses, and would at another member, too.
            PeerError: no member answered in time; unless `may_repeat`, whether it was done
                is unknown.
            StorageError: this is no longer the same etcd, or the client is closed.
        """
        self._check()
        self._calls += 1
        self._no_calls.clear()
        try:
            floor = self.lineage.revision if is_linearizable else 0
            answer = await self._call(path, json.dumps(body).encode(), may_repeat, only)
            self.lineage.note(header(answer), floor)
            self.answers += 1
            return answer
        finally:
            self._calls -= 1
            if not self._calls:
                self._no_calls.set()

    async def stream(self, endpoint: Endpoint, path: str, body: JsonObject) -> "EtcdStream":
        """Begin an answer that has no end; return once its first message is on its way.

        It ends when the member has no leader any more.

        Raises:
            EtcdError, PeerError, StorageError: as `call`.
        """
        self._check()
        async with within(
            self._clock, self._options.attempt_timeout_ms, f"the answer of {endpoint} to {path}"
        ):
            token = await self._log_in(endpoint)
            connection = await self._open(endpoint)
            self._busy.add(connection)
            try:
                headers = _headers(token) | {"Grpc-Metadata-hasleader": "true"}
                await connection.post(f"/v3/{path}", headers, json.dumps(body).encode())
            except BaseException:
                self.end(connection)
                raise
        if self.is_closed:
            self.end(connection)
        return EtcdStream(self, connection, token)

    def end(self, connection: HttpConnection) -> None:
        """Leave a connection for good; harmless twice."""
        self._busy.discard(connection)
        connection.abort()

    async def pause(self, pause_ms: int) -> None:
        """Wait so long, or until the client is closed."""
        if self.is_closed:
            return
        passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self._clock.call_at(self._clock.now_ms() + pause_ms, lambda: _wake(passed))
        self._pauses.add(passed)
        try:
            await passed
        finally:
            timer.cancel()
            self._pauses.discard(passed)

    async def close(self) -> None:
        """Refuse new calls, wait for those under way, then end every stream and connection."""
        self.is_closed = True
        for passed in self._pauses:
            _wake(passed)
        await self._no_calls.wait()
        idle = [connection for pool in self._idle.values() for connection in pool]
        for connection in [*idle, *self._busy]:
            connection.abort()
        for pool in self._idle.values():
            pool.clear()

    async def _call(
        self, path: str, body: bytes, may_repeat: bool, only: Endpoint | None
    ) -> JsonObject:
        options = self._options
        last: PeerError | None = None
        try:
            async with within(self._clock, options.call_timeout_ms, f"etcd's answer to {path}"):
                while True:
                    for endpoint in self._order(only):
                        try:
                            return await self._attempt(endpoint, path, body, may_repeat)
                        except PeerError as error:
                            if isinstance(error, EtcdError) and not error.is_of_the_member:
                                raise
                            last = error
                            self._leave(endpoint, error)
                            if not may_repeat and not isinstance(error, NotSentError):
                                raise
                    if self.is_closed or only is not None:
                        assert last is not None
                        raise last
                    await self.pause(RETRY_PAUSE_MS)
        except DeadlineError as error:
            if last is not None:
                raise DeadlineError(f"{error}; before, {last}") from last
            self._leave(only or self.endpoints.current, error)
            raise

    def _leave(self, endpoint: Endpoint, error: PeerError) -> None:
        """Ask another one next; the idle connections of a dead machine look as good as any."""
        self.endpoints.failed(endpoint, error)
        idle, self._idle[endpoint] = self._idle[endpoint], []
        for connection in idle:
            connection.abort()

    def _order(self, only: Endpoint | None) -> Iterable[Endpoint]:
        return self.endpoints.order() if only is None else (only,)

    async def _attempt(
        self, endpoint: Endpoint, path: str, body: bytes, may_repeat: bool
    ) -> JsonObject:
        if not may_repeat:
            return await self._exchange(endpoint, path, body)
        async with within(
            self._clock, self._options.attempt_timeout_ms, f"the answer of {endpoint} to {path}"
        ):
            return await self._exchange(endpoint, path, body)

    async def _exchange(self, endpoint: Endpoint, path: str, body: bytes) -> JsonObject:
        """Ask one member; say who we are again if it has forgotten."""
        for is_last in (False, True):
            token = await self._log_in(endpoint)
            try:
                answer = await self._post(endpoint, path, body, token)
            except EtcdError as error:
                if is_last or not self.forget(token, error):
                    raise
                continue
            self.endpoints.answered(endpoint)
            return answer
        raise AssertionError

    async def _post(self, endpoint: Endpoint, path: str, body: bytes, token: str) -> JsonObject:
        async with self._slots:
            connection = await self._connection(endpoint)
            try:
                head = await connection.post(f"/v3/{path}", _headers(token), body)
                text = await connection.read()
            except BaseException:
                connection.abort()
                raise
            finally:
                self._busy.discard(connection)
            self._idle[endpoint].append(connection)
        if head.status == 404 and not text.startswith(b"{"):
            raise PeerError(f"{endpoint} has no JSON gateway: is it etcd 3.4 or later?")
        answer = decode(text)
        if head.status != 200 or "error" in answer:
            raise error_of(answer)
        result: JsonObject = answer.get("result", answer)
        return result

    async def _connection(self, endpoint: Endpoint) -> HttpConnection:
        idle = self._idle[endpoint]
        while idle:
            connection = idle.pop()
            if connection.is_usable:
                break
            connection.abort()
        else:
            connection = await self._open(endpoint)
        self._busy.add(connection)
        return connection

    async def _open(self, endpoint: Endpoint) -> HttpConnection:
        try:
            async with within(
                self._clock, self._options.attempt_timeout_ms, f"connecting to etcd at {endpoint}"
            ):
                return await HttpConnection.open(self._network, endpoint, self._tls)
        except DeadlineError as error:
            raise NotSentError(str(error)) from error

    async def _log_in(self, endpoint: Endpoint) -> str:
        """Return the token to send; "" where none is needed."""
        options = self._options
        if options.user is None:
            return ""
        async with self._logging_in:
            if self._token is None:
                who = json.dumps({"name": options.user, "password": options.password})
                try:
                    async with within(
                        self._clock, options.attempt_timeout_ms, f"the log-in at {endpoint}"
                    ):
                        answer = await self._post(endpoint, _AUTHENTICATE, who.encode(), "")
                    self._token = str(answer.get("token", ""))
                except (LostError, DeadlineError) as error:
                    raise NotSentError(str(error)) from error
                except EtcdError as error:
                    if not error.is_auth_off:
                        raise
                    self._token = ""
            return self._token

    def forget(self, token: str, error: EtcdError) -> bool:
        """Return whether, after this answer to `token`, it helps to say again who we are."""
        if self._options.user is None or not error.is_old_token:
            return False
        if self._token == token:  # nobody has done so meanwhile
            self._token = None
        return True

    def _check(self) -> None:
        if self.is_closed:
            raise StorageError("the metadata store is closed")
        self.lineage.check()


class EtcdStream:
    """The messages of a watch, from a connection of its own."""

    def __init__(self, client: EtcdClient, connection: HttpConnection, token: str) -> None:
        self._client = client
        self._token = token
        self._connection = connection
        self._messages = connection.messages()

    async def next(self) -> JsonObject:
        """Return the next message.

        Raises:
            EtcdError: etcd ended the stream.
            PeerError: the connection broke, or `abort` was called.
            StorageError: this is no longer the same etcd.
        """
        text = b""
        while not text:
            try:
                text = await anext(self._messages)
            except StopAsyncIteration:
                raise LostError("etcd ended the stream") from None
        answer = decode(text)
        result = answer.get("result")
        if not isinstance(result, dict):
            error = error_of(answer)
            self._client.forget(self._token, error)
            raise error
        self._client.lineage.note(header(result))
        return result

    def abort(self) -> None:
        """Harmless twice."""
        self._client.end(self._connection)


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": token} if token else {}


def _context(tls: TlsFiles | None, endpoints: Iterable[Endpoint]) -> Any:
    if not any(endpoint.is_tls for endpoint in endpoints):
        return None
    try:
        return (tls or TlsFiles()).context()
    except OSError as error:
        raise StorageError(f"the TLS files for etcd cannot be used: {error}") from error


def _wake(future: asyncio.Future[None]) -> None:
    with suppress(asyncio.InvalidStateError):
        future.set_result(None)
