"""The ports that tests give to servers: none twice, and none of another process's."""

from contextlib import closing

import pytest
from tools.subject.ports import BLOCK, OwnPorts, free_port


@pytest.fixture
def first() -> int:
    """Of some ports in this process's own block, where no other can claim any."""
    return next(port for port in iter(free_port, 0) if port % BLOCK < BLOCK // 2)


def test_no_port_is_given_twice_before_its_servers_start() -> None:
    drawn = [free_port() for _ in range(300)]
    assert len(set(drawn)) == len(drawn)


def test_a_claimed_block_is_left_to_its_process(first: int) -> None:
    blocks = [range(first, first + 5), range(first + 5, first + 10)]
    with closing(OwnPorts(blocks)) as ours, closing(OwnPorts(blocks)) as theirs:
        assert not {ours.take() for _ in range(4)} & {theirs.take() for _ in range(4)}
        with pytest.raises(RuntimeError, match="claimed by 2 other processes"):
            OwnPorts(blocks)


def test_a_block_comes_round_again(first: int) -> None:
    with closing(OwnPorts([range(first, first + 4)])) as ports:
        assert [ports.take() for _ in range(6)] == [first + 1, first + 2, first + 3] * 2
