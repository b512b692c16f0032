"""(g): topics created by one AdminClient."""

import time
from collections.abc import Callable

from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.measure import CREATE_S, Contestant, Figures, broker_cpu

TOPICS = 500


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
