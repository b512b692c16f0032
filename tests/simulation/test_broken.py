"""Each way of being wrong on purpose is seen by the checker that is there for it.

Within as many seeds as `make test` runs; without the switch the same seed passes.
"""

import pytest
from tests.simulation.test_seeds import SEEDS
from tools.layers import REPOSITORY
from tools.simulation.run import run

from ottla.testing import broken_groups, broken_replication, broken_shares, broken_transactions
from ottla.testing.broken import BROKEN, broken

SEEN_BY = {
    "ack_before_write": "lost_writes",
    "skip_crc": "forbidden",
    "skip_sequence_check": "duplicates",
    "serve_above_high_watermark": "above_high_watermark",
    "forget_to_rebuild_index": "unreadable",
    "ack_duplicate_before_flush": "lost_writes",
    "keep_waits_across_epochs": "lost_writes",
}

SEEN_ELSEWHERE = {
    **dict.fromkeys(
        (switch.__name__ for switch in broken_transactions.SWITCHES),
        "tests/simulation/test_transactions.py",
    ),
    **dict.fromkeys(
        (switch.__name__ for switch in broken_groups.SWITCHES),
        "tests/simulation/test_groups.py",
    ),
    **dict.fromkeys(
        (switch.__name__ for switch in broken_shares.SWITCHES),
        "tests/simulation/test_shares.py",
    ),
    **dict.fromkeys(
        (switch.__name__ for switch in broken_replication.SWITCHES),
        "tests/simulation/test_clusters.py",
    ),
    "recover_without_crc": "tests/unit/storage/test_recovery.py",
    "name_no_aborted_transactions": "tests/recovery/test_transactional_copy.py",
}


def test_every_switch_has_its_checker() -> None:
    assert SEEN_BY.keys() | SEEN_ELSEWHERE.keys() == BROKEN.keys()
    for switch, path in SEEN_ELSEWHERE.items():
        assert f'"{switch}"' in (REPOSITORY / path).read_text(), path


@pytest.mark.parametrize("switch", SEEN_BY)
def test_a_broker_broken_on_purpose_is_caught(switch: str) -> None:
    for seed in range(SEEDS):
        with broken(switch):
            ran = run(seed)
        if any(line.startswith(f"{SEEN_BY[switch]}:") for line in ran.violations):
            break
    else:
        pytest.fail(f"{SEEN_BY[switch]} saw nothing of {switch} in {SEEDS} seeds")
    assert not run(seed).violations


def test_a_switch_is_off_again_behind_its_block() -> None:
    before = run(3).digest
    for switch in BROKEN:
        with broken(switch):
            pass
    assert run(3).digest == before
