"""What the broker overlooks in any request, as the real Kafka does."""

import struct

import pytest
from tools.probes.produce import Broker, text
from tools.subject import Subject

REQUESTS = {
    "ApiVersions": (18, 0, b""),
    "Metadata of no topic": (3, 1, struct.pack(">i", 0)),
    "ListGroups": (16, 0, b""),
    "Fetch of nothing": (1, 4, struct.pack(">iiiibi", -1, 0, 0, 1000, 0, 0)),
    "Produce of nothing": (0, 3, struct.pack(">hhii", -1, 1, 1000, 0)),
    "FindCoordinator": (10, 1, text("a-group") + b"\0"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_bytes_behind_a_request_are_overlooked(name: str, broker: Subject) -> None:
    """Some versions of librdkafka send three of them with Metadata."""
    key, version, body = REQUESTS[name]
    connection = Broker(broker.port)
    try:
        answers = [
            vars(connection.call(key, version, body + extra)) for extra in (b"", b"\0\0\0", b"more")
        ]
    finally:
        connection.close()
    assert answers[0] == answers[1] == answers[2]
