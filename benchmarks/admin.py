"""(g), (h): topics created by one AdminClient; members of a group until it is stable."""

import time
from collections.abc import Callable

from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.measure import CREATE_S, Contestant, Figures, a_topic, broker_cpu, without

TOPICS = 500
MEMBERS = 8
GROUPS = 5


def _created(
    subject: Contestant, prefix: str, create: Callable[[AdminClient, list[NewTopic]], None]
) -> Figures:
    admin = AdminClient({"bootstrap.servers": subject.bootstrap, "log_level": 2})
    admin.list_topics(timeout=CREATE_S)
    topics = [NewTopic(f"{prefix}-{n}", 1, 1) for n in range(TOPICS)]

    def work() -> Figures:
        started = time.perf_counter()
        create(admin, topics)
        seconds = time.perf_counter() - started
        return {"seconds": seconds, "topics_per_s": TOPICS / seconds}

    figures = broker_cpu(subject, work)
    for deleted in admin.delete_topics([topic.topic for topic in topics]).values():
        deleted.result(CREATE_S)
    return figures


def topics_in_one_request(subject: Contestant, number: int) -> Figures:
    """(g) 500 topics in one CreateTopics."""

    def create(admin: AdminClient, topics: list[NewTopic]) -> None:
        for created in admin.create_topics(topics).values():
            created.result(CREATE_S)

    return _created(subject, f"g-{number}", create)


def topics_one_by_one(subject: Contestant, number: int) -> Figures:
    """(g) 500 topics, each a CreateTopics of its own, sent without waiting."""

    def create(admin: AdminClient, topics: list[NewTopic]) -> None:
        waiting = [admin.create_topics([topic])[topic.topic] for topic in topics]
        for created in waiting:
            created.result(CREATE_S)

    return _created(subject, f"g1-{number}", create)


def group_of_eight(subject: Contestant, number: int) -> Figures:
    """(h) 8 members subscribe at once, by librdkafka's own settings (heartbeat every 3 s)."""
    return _groups(subject, f"h-{number}", {})


def group_of_eight_alert(subject: Contestant, number: int) -> Figures:
    """(h) the same with a heartbeat every 100 ms, so that members hear of each other at once."""
    return _groups(subject, f"h1-{number}", {"heartbeat.interval.ms": "100"})


def _groups(subject: Contestant, topic: str, settings: dict[str, str]) -> Figures:
    """Several groups in a row, since one depends much on who comes first; mean and worst."""
    a_topic(subject, topic, MEMBERS)
    seconds: list[float] = []

    def work() -> Figures:
        for group in range(GROUPS):
            seconds.append(_until_stable(subject, topic, f"{topic}-{group}", settings))
        return {"seconds": sum(seconds) / GROUPS, "worst_s": max(seconds)}

    figures = broker_cpu(subject, work)
    without(subject, topic)
    return figures


def _until_stable(subject: Contestant, topic: str, group: str, settings: dict[str, str]) -> float:
    """Seconds from the first subscription until each of 8 members owns one of 8 partitions."""
    members = [
        Consumer({"bootstrap.servers": subject.bootstrap, "group.id": group, **settings})
        for _ in range(MEMBERS)
    ]
    started = time.perf_counter()
    for member in members:
        member.subscribe([topic])
    while any(len(member.assignment()) != 1 for member in members):
        if time.perf_counter() - started > CREATE_S:
            raise RuntimeError([len(member.assignment()) for member in members])
        for member in members:
            member.poll(0.002)
    seconds = time.perf_counter() - started
    for member in members:
        member.close()
    return seconds
