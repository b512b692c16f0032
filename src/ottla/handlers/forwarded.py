"""Requests that the controller answers: passed on to it, or taken from an Envelope (KIP-590)."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, cast

from ottla.handlers.context import BrokerViews, Client, Context
from ottla.handlers.failures import failure
from ottla.metadata.image import Image
from ottla.model.errors import ApiError, ErrorCode, ProtocolError
from ottla.model.isolation import ResourceType
from ottla.net.connection import Connection
from ottla.wire.generated.envelope import EnvelopeRequest, EnvelopeResponse
from ottla.wire.headers import read_request_header
from ottla.wire.message import Message

Serve = Callable[[Context, Any], Any]


class Forwarder(Protocol):
    """Somebody who finds the controller and asks it."""

    async def ask(
        self,
        request: Message,
        version: int,
        /,
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

    async def followed(self, holds: Callable[[Image], bool], /) -> None:
        """Return once this broker's image is so that `holds` is true of it.

        Raises:
            ApiError: REQUEST_TIMED_OUT, it was not in time.
        """


def forwarded(serve: Serve) -> Serve:
    """The handler of an API that only the controller answers."""

    def serve_or_forward(context: Context, request: Message) -> Any:
        broker = context.broker
        if (
            broker.forwarder is None
            or broker.image.controller_id == broker.broker_id
            or _is_for_this_broker(request)
        ):
            return serve(context, request)
        return _forward(context, request, serve)

    return serve_or_forward


def _is_for_this_broker(request: Any) -> bool:
    """Each broker has its own log levels."""
    resources = getattr(request, "resources", ())
    return bool(resources) and all(
        resource.resource_type == ResourceType.BROKER_LOGGER for resource in resources
    )


async def _forward(context: Context, request: Message, serve: Serve) -> Any:
    broker = context.broker
    assert broker.forwarder is not None
    timeout_ms = getattr(request, "timeout_ms", broker.config.request_timeout_ms)
    try:
        return await broker.forwarder.ask(
            request,
            context.api_version,
            principal=context.principal,
            host=context.client_host,
            client_id=context.client_id,
            timeout_ms=min(max(1, timeout_ms), broker.config.request_timeout_ms),
        )
    except ApiError as error:
        if error.code is not ErrorCode.NOT_CONTROLLER:
            raise
    answer = serve(context, request)
    return await answer if asyncio.iscoroutine(answer) else answer


def envelope(
    context: Context, request: EnvelopeRequest
) -> EnvelopeResponse | Coroutine[Any, Any, EnvelopeResponse]:
    """Answer what another broker was asked, as if it had been asked here."""
    from ottla.handlers.registry import FORWARDED, served

    broker = context.broker
    if broker.image.controller_id != broker.broker_id:
        return EnvelopeResponse(error_code=ErrorCode.NOT_CONTROLLER)
    frame = memoryview(request.request_data)
    header, position = read_request_header(frame)
    if header.api_key not in FORWARDED:
        return EnvelopeResponse(error_code=ErrorCode.INVALID_REQUEST)
    api = served(header.api_key, header.api_version)
    if api is None:
        return EnvelopeResponse(error_code=ErrorCode.UNSUPPORTED_VERSION)
    inner, _ = api.read(frame, position)
    client = _sender(context, request)
    return _answered(
        broker,
        Context(broker, client, context.connection, api, header.correlation_id, header.client_id),
        inner,
    )


def _sender(context: Context, request: EnvelopeRequest) -> Client:
    """Who sent it to the other broker."""
    try:
        host = request.client_host_address.decode()
        principal = (request.request_principal or b"User:ANONYMOUS").decode()
    except UnicodeDecodeError:
        raise ProtocolError("an envelope from nobody") from None
    client = Client(context.connection_id, context.listener, host, context.client.local)
    client.principal = principal
    return client


async def _answered(broker: BrokerViews, inner: Context, request: Message) -> EnvelopeResponse:
    connection: Connection = inner.connection
    connection.detach()
    try:
        answer = inner.api.serve(inner, request)
        if asyncio.iscoroutine(answer):
            answer = await answer
    except ApiError as error:
        if error.code is ErrorCode.NOT_CONTROLLER:
            return EnvelopeResponse(error_code=error.code)
        answer = failure(inner, request, error)
    frame = b"".join(cast("Sequence[bytes]", inner.frame(answer)))
    return EnvelopeResponse(response_data=frame[4:])
