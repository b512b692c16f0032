"""An etcd whose history is not the one we know is refused, and that is said once."""

import logging

import pytest

from ottla.metadata.etcd_lineage import Lineage
from ottla.metadata.etcd_messages import Header
from ottla.model.errors import StorageError


def test_the_highest_revision_is_kept_whatever_a_lagging_member_says() -> None:
    lineage = Lineage()
    lineage.note(Header(1, 5))
    lineage.note(Header(1, 3))
    assert (lineage.cluster_id, lineage.revision) == (1, 5)


def test_a_linearizable_answer_below_what_was_seen_is_another_history() -> None:
    lineage = Lineage()
    lineage.note(Header(1, 5), floor=0)
    with pytest.raises(StorageError, match="went back from 5 to 4"):
        lineage.note(Header(1, 4), floor=5)


def test_another_cluster_id_is_another_history() -> None:
    lineage = Lineage()
    lineage.note(Header(0xABC, 1))
    with pytest.raises(StorageError, match="was abc and is abd"):
        lineage.note(Header(0xABD, 100))


def test_a_broken_history_stays_broken_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    lineage = Lineage()
    lineage.note(Header(1, 1))
    with caplog.at_level(logging.ERROR, "ottla.metadata"):
        for _ in range(3):
            with pytest.raises(StorageError, match="refused until"):
                lineage.note(Header(2, 1))
    with pytest.raises(StorageError):
        lineage.note(Header(1, 1))
    with pytest.raises(StorageError):
        lineage.check()
    assert len(caplog.records) == 1
