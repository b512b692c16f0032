"""Topics out of a consumer's metadata."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.coordinator.group.subscription import subscribed_topics
from ottla.wire.generated.consumer_protocol_subscription import ConsumerProtocolSubscription
from ottla.wire.prefixed import encode_versioned

names = st.lists(st.text(st.characters(codec="ascii", categories=["L"]), min_size=1), max_size=5)


@given(names, st.integers(0, 3))
def test_every_version_is_understood(topics: list[str], version: int) -> None:
    subscription = encode_versioned(ConsumerProtocolSubscription(topics=topics), version)
    assert subscribed_topics([subscription]) == set(topics)


def test_the_topics_of_all_members_count() -> None:
    a = encode_versioned(ConsumerProtocolSubscription(topics=["t", "u"]), 1)
    b = encode_versioned(ConsumerProtocolSubscription(topics=["v"]), 0)
    assert subscribed_topics([a, b]) == {"t", "u", "v"}
    assert subscribed_topics([]) == set()


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\0",
        b"\0\0\0\0\0\1",
        b"\0\0\0\0\0\1\0\5t",
        b"\0\0\0\0\0\1\xff\xfft",
        b"\0\0\x7f\xff\xff\xff\0\1t",
        b"\0\0\xff\xff\xff\xff",
        b"\xff\xff\0\0\0\0",
        b"\0\0\0\0\0\1\0\1\xff",
    ],
)
def test_what_cannot_be_read_leaves_the_topics_unknown(bad: bytes) -> None:
    good = encode_versioned(ConsumerProtocolSubscription(topics=["t"]), 0)
    assert subscribed_topics([good, bad]) is None


@given(st.binary(max_size=60))
def test_no_bytes_are_too_bad(noise: bytes) -> None:
    topics = subscribed_topics([noise])
    assert topics is None or all(isinstance(topic, str) for topic in topics)
