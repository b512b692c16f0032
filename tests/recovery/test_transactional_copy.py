"""Consume, produce, commit offsets in transactions, killed again and again: nothing twice or lost."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.etcd import binary_or_skip
from tools.kafka import RealKafka
from tools.proof import transactional_copy
from tools.proof.copy_checker import counted, violations
from tools.proof.copy_places import ManyBrokers, OneBroker, a_cluster
from tools.proof.transactional_copy import Plan
from tools.subject import Ottla, Subject

AGAINST_KAFKA = os.environ.get("INTEROP_AGAINST") == "kafka"


def started(folder: Path, environment: dict[str, str] | None = None) -> Subject:
    """The broker under test, running; INTEROP_AGAINST=kafka makes it the real Kafka."""
    settings = {**transactional_copy.SETTINGS, "offsets.topic.num.partitions": "5"}
    subject: Subject
    if AGAINST_KAFKA:
        subject = RealKafka(home=folder, extra=settings)
    else:
        subject = Ottla(folder / "data", settings=settings, environment=environment)
    subject.start()
    return subject


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print past pytest: each kill is part of what the run shows."""

    def printed(line: str) -> None:
        with capsys.disabled():
            print(line)

    return printed


PLANS = [
    Plan("confluent", 2_000, 20, broker_kills=1, copier_kills=2, abort_every=5, seed=1),
    Plan("aiokafka", 3_000, 10, broker_kills=2, copier_kills=2, abort_every=5, seed=1),
    pytest.param(
        Plan("java", 1_000, 10, broker_kills=1, copier_kills=1, abort_every=5, seed=1),
        marks=pytest.mark.java,
    ),
]
"""Kafka's own figures are `python -m tools.proof --only transactional-copy`."""


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.client)
def test_a_copy_in_transactions_is_its_source(
    plan: Plan, tmp_path: Path, say: Callable[[str], None]
) -> None:
    subject = started(tmp_path)
    try:
        outcome = transactional_copy.run(OneBroker(subject), plan, tmp_path, say)
    finally:
        subject.kill9()
    assert outcome.violations == []
    assert outcome.read == plan.records < outcome.read_uncommitted


@pytest.mark.skipif(AGAINST_KAFKA, reason="our cluster")
def test_a_copy_over_three_brokers_that_are_bounced_is_its_source(
    tmp_path: Path, say: Callable[[str], None]
) -> None:
    binary_or_skip()
    plan = Plan("confluent", 1_500, 20, broker_kills=3, copier_kills=1, abort_every=5, seed=1)
    settings = {
        **transactional_copy.SETTINGS,
        "offsets.topic.num.partitions": "3",
        "transaction.state.log.num.partitions": "3",
    }
    with a_cluster(tmp_path, 3, settings) as cluster:
        outcome = transactional_copy.run(ManyBrokers(cluster), plan, tmp_path, say)
    assert outcome.violations == []
    assert outcome.read == plan.records < outcome.read_uncommitted


@pytest.mark.skipif(AGAINST_KAFKA, reason="a switch of ours")
def test_aborted_records_shown_as_committed_are_caught(
    tmp_path: Path, say: Callable[[str], None]
) -> None:
    subject = started(tmp_path, {"OTTLA_BREAK": "name_no_aborted_transactions"})
    plan = Plan("aiokafka", 400, 25, broker_kills=0, copier_kills=0, abort_every=3, seed=2)
    try:
        outcome = transactional_copy.run(OneBroker(subject), plan, tmp_path, say)
    finally:
        subject.kill9()
    assert outcome.wrong["duplicate"]


SOURCE = {0: ["a", "b", "c"]}


@pytest.mark.parametrize(
    ("copied", "meanwhile", "complaint"),
    [
        ("ac", "ac", "lost: b is not in partition 0 of the copy"),
        ("abbc", "abbc", "duplicate: b again in partition 0 of the copy"),
        ("abxc", "abxc", "foreign: x was never in the source"),
        ("acb", "acb", "order: partition 0 of the copy has another order"),
        ("abc", "abbc", "meanwhile: a reader of partition 0 saw something else"),
    ],
)
def test_the_checker_sees_each_fault(copied: str, meanwhile: str, complaint: str) -> None:
    assert violations(SOURCE, {0: list(copied)}, {0: list(meanwhile)}) == [complaint]
    assert counted(SOURCE, {0: list(copied)}, {0: list(meanwhile)}) == {
        complaint.partition(":")[0]: 1
    }


def test_the_checker_accepts_what_is_right() -> None:
    assert violations(SOURCE, SOURCE, SOURCE) == []
