"""To the controller, wherever it is: requests that change metadata, whole (KIP-590).

Whoever controls changes now and then, and nobody may for a moment: a request waits for
the next controller, as long as its client does. What was sent when a link broke may have
been done or not, and is not sent again.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from ottla.broker.peers import Peers
from ottla.metadata.image import Image
from ottla.model.clock import Clock
from ottla.model.errors import ApiError, ErrorCode, PeerError
from ottla.model.ids import NO_BROKER, BrokerId
from ottla.wire.apis import response_class
from ottla.wire.codec import decode, encode
from ottla.wire.generated.envelope import EnvelopeRequest
from ottla.wire.headers import RequestHeader, read_response_header, request_header
from ottla.wire.message import Message

RETRY_MS = 50
FOLLOW_MS = 10_000
"""How long after the controller this broker may know of a change."""


class Forwarding:
    def __init__(self, broker_id: BrokerId, peers: Peers, clock: Clock) -> None:
        """`clock` is the transport clock."""
        self._broker_id = broker_id
        self._peers = peers
        self._clock = clock
        self.image = Image()
        self._waiting: list[tuple[Callable[[Image], bool], asyncio.Event]] = []

    def follow(self, image: Image) -> None:
        self.image = image
        for holds, event in self._waiting:
            if holds(image):
                event.set()

    async def followed(self, holds: Callable[[Image], bool], /) -> None:
        """Return once this broker's image is so that `holds` is true of it.

        Raises:
            ApiError: REQUEST_TIMED_OUT, it was not within `FOLLOW_MS`.
        """
        if holds(self.image):
            return
        event = asyncio.Event()
        late = False

        def give_up() -> None:
            nonlocal late
            late = True
            event.set()

        timer = self._clock.call_at(self._clock.now_ms() + FOLLOW_MS, give_up)
        self._waiting.append((holds, event))
        try:
            await event.wait()
        finally:
            timer.cancel()
            self._waiting.remove((holds, event))
        if late:
            raise ApiError(ErrorCode.REQUEST_TIMED_OUT, "it is done, but not known here yet")

    async def ask(
        self,
        request: Any,
        version: int,
        *,
        principal: str,
        host: str,
        client_id: str | None,
        timeout_ms: int,
    ) -> Message:
        """Return the controller's answer.

        Raises:
            ApiError: REQUEST_TIMED_OUT, no controller answered in time; NOT_CONTROLLER, this
                broker is it now.
        """
        until_ms = self._clock.now_ms() + timeout_ms
        asking = self._ask_until(until_ms, request, version, principal, host, client_id)
        # A request is served outside of any task, and connecting needs one.
        return await asyncio.get_running_loop().create_task(asking)

    async def _ask_until(
        self,
        until_ms: int,
        request: Any,
        version: int,
        principal: str,
        host: str,
        client_id: str | None,
    ) -> Message:
        while True:
            controller = self.image.controller_id
            if controller == self._broker_id:
                raise ApiError(ErrorCode.NOT_CONTROLLER)
            if controller != NO_BROKER:
                answer = await self._ask(
                    controller, request, version, principal, host, client_id, until_ms
                )
                if answer is not None:
                    return answer
            if self._clock.now_ms() + RETRY_MS >= until_ms:
                raise ApiError(ErrorCode.REQUEST_TIMED_OUT, "no controller answered in time")
            await self._pause()

    async def _ask(
        self,
        controller: BrokerId,
        request: Any,
        version: int,
        principal: str,
        host: str,
        client_id: str | None,
        until_ms: int,
    ) -> Message | None:
        """One try; None: it could not be sent, or was not for that broker."""
        api_key = int(request.API_KEY)
        header = request_header(RequestHeader(api_key, version, 0, client_id))
        envelope = EnvelopeRequest(
            request_data=bytes(header) + encode(request, version),
            request_principal=principal.encode(),
            client_host_address=host.encode(),
        )
        try:
            link = await self._peers.link(controller)
        except PeerError:
            return None
        try:
            answer = await link.request(
                envelope, timeout_ms=max(1, until_ms - self._clock.now_ms()), version=0
            )
        except PeerError as error:
            raise ApiError(ErrorCode.REQUEST_TIMED_OUT, str(error)) from error
        if answer.error_code == ErrorCode.NOT_CONTROLLER:
            return None
        if answer.error_code:
            raise ApiError(ErrorCode(answer.error_code))
        _, body = read_response_header(answer.response_data, api_key, version)
        return decode(response_class(api_key), version, answer.response_data, body)[0]

    async def _pause(self) -> None:
        over = asyncio.Event()
        timer = self._clock.call_at(self._clock.now_ms() + RETRY_MS, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()
