"""Known values are those of `org.apache.kafka.common.utils.Utils.murmur2` in Kafka 4.3.1."""

import pytest

from ottla.client.partitioner import StickyPartitioner, murmur2, partition_of

KNOWN = [
    ("", 275646681, 2),
    ("a", 2731586172, 5),
    ("21", 3321034988, 3),
    ("abc", 479470107, 4),
    ("foobar", 3504634814, 0),
    ("car-17", 18794405, 0),
    ("a-little-bit-long-string", 3308985760, 1),
    ("a-little-bit-longer-string", 2808662467, 0),
    ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", 4236069325, 3),
    ("é中😀", 1824111047, 3),
]


@pytest.mark.parametrize(("key", "hashed", "of_seven"), KNOWN)
def test_a_key_goes_where_the_java_client_sends_it(key: str, hashed: int, of_seven: int) -> None:
    assert murmur2(key.encode()) == hashed
    assert partition_of(key.encode(), 7) == of_seven


def test_keyless_records_stay_together_until_the_batch_is_full() -> None:
    draws = iter([2, 0, 1])
    sticky = StickyPartitioner(lambda bound: next(draws))
    assert [sticky.choose(3) for _ in range(4)] == [2, 2, 2, 2]
    sticky.batch_full()
    assert [sticky.choose(3) for _ in range(2)] == [0, 0]


def test_a_sticky_partition_that_is_gone_is_chosen_anew() -> None:
    draws = iter([5, 1])
    sticky = StickyPartitioner(lambda bound: next(draws))
    assert sticky.choose(6) == 5
    assert sticky.choose(3) == 1
