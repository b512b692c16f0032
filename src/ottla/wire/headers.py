"""What stands in front of a request's and a response's body.

    request v1    api_key int16, api_version int16, correlation_id int32,
                  client_id nullable string with an int16 length
    request v2    the same, then tagged fields; for flexible versions of an API
    response v0   correlation_id int32
    response v1   the same, then tagged fields; for flexible versions of an API

The answer to ApiVersions always has response header v0: its reader does not
know yet what the broker speaks (KIP-511).
"""

import struct
from typing import NamedTuple

from ottla.model.errors import ProtocolError
from ottla.wire.apis import API
from ottla.wire.message import Buffer
from ottla.wire.primitives import skip_tagged

API_VERSIONS = 18

_request = struct.Struct(">hhih")
_correlation = struct.Struct(">i")
_NEVER = 1 << 15
_flexible_from = {
    key: _NEVER if api.flexible_from is None else api.flexible_from for key, api in API.items()
}


class RequestHeader(NamedTuple):
    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None


def read_request_header(buffer: Buffer, position: int = 0) -> tuple[RequestHeader, int]:
    """Return the header at `position` and the position of the body.

    The version is not checked: an ApiVersions request of a version from the
    future has an answer of its own.

    Raises:
        ProtocolError: the header is malformed, or no API has this key.
    """
    try:
        key, version, correlation_id, length = _request.unpack_from(buffer, position)
        flexible_from = _flexible_from[key]
        position += 10
        client_id = None
        if length >= 0:
            end = position + length
            if end > len(buffer):
                raise ProtocolError("the client id is beyond the end of the request")
            client_id = str(buffer[position:end], "utf-8")
            position = end
        if version >= flexible_from:
            count = buffer[position]
            position += 1
            if count:
                position = skip_tagged(buffer, position, len(buffer), count)
    except KeyError as error:
        raise ProtocolError(f"no API has the key {error}") from None
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ProtocolError(f"request header: {error}") from None
    return RequestHeader(key, version, correlation_id, client_id), position


def request_header(header: RequestHeader) -> bytes:
    """Return the bytes of `header`, for a client."""
    client_id = header.client_id
    encoded = b"" if client_id is None else client_id.encode()
    length = -1 if client_id is None else len(encoded)
    fixed = _request.pack(header.api_key, header.api_version, header.correlation_id, length)
    flexible = API[header.api_key].is_flexible(header.api_version)
    return fixed + encoded + (b"\0" if flexible else b"")


def response_header(correlation_id: int, api_key: int, api_version: int) -> bytes:
    """Return the header of the answer to a request with these three."""
    if api_version < _flexible_from[api_key] or api_key == API_VERSIONS:
        return _correlation.pack(correlation_id)
    return _correlation.pack(correlation_id) + b"\0"


def read_response_header(
    buffer: Buffer, api_key: int, api_version: int, position: int = 0
) -> tuple[int, int]:
    """Return the correlation id and the position of the body.

    Raises:
        ProtocolError: the header is malformed.
    """
    try:
        (correlation_id,) = _correlation.unpack_from(buffer, position)
        position += 4
        if API[api_key].is_flexible(api_version) and api_key != API_VERSIONS:
            count = buffer[position]
            position += 1
            if count:
                position = skip_tagged(buffer, position, len(buffer), count)
    except (struct.error, IndexError) as error:
        raise ProtocolError(f"response header: {error}") from None
    return correlation_id, position
