"""The internal topics of streams groups: made by the broker, with the first heartbeat."""

from typing import Any

from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType
from tests.interop.conftest import AGAINST, create_topic
from tests.interop.test_streams_groups import FIND_COORDINATOR, HEARTBEAT, ask
from tests.support.versions.ask_streams import joining, subtopology, topology
from tests.support.versions.talk import NOT_READY
from tools.subject import Subject, until

from ottla.coordinator.group.streams.configured import (
    MISSING_INTERNAL_TOPICS,
    MISSING_SOURCE_TOPICS,
)


def joined(subject: Subject, group: str, shape: dict[str, Any]) -> Any:
    """What the first heartbeat of a member is answered once a coordinator knows the topic."""
    answers: list[Any] = []

    def answered() -> bool:
        find = (FIND_COORDINATOR, 4, {"coordinator_keys": [group]})
        _, answer = ask(subject, find, (HEARTBEAT, 0, joining(group, "A", shape)))
        answers.append(answer)
        statuses = [status.status_code for status in answer.status or ()]
        return answer.error_code not in NOT_READY and MISSING_SOURCE_TOPICS not in statuses

    until("a heartbeat is answered", answered)
    return answers[-1]


def chain(group: str, **rest: Any) -> dict[str, Any]:
    """source -> repartition topic -> a store with its changelog."""
    again, changelog = f"{group}-again", f"{group}-changelog"
    info = {
        "name": changelog,
        "topic_configs": [{"key": "cleanup.policy", "value": "compact"}],
        **rest,
    }
    return topology(
        subtopology(group, repartition_sink_topics=[again]),
        {
            "subtopology_id": "1",
            "repartition_source_topics": [{"name": again}],
            "state_changelog_topics": [info],
        },
    )


def test_internal_topics_are_made_and_tasks_given_with_the_first_answer(
    broker: Subject, name: str
) -> None:
    create_topic(broker, name, 3)
    answer = joined(broker, name, chain(name))
    assert answer.error_code == 0, answer
    admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 2})
    names = [f"{name}-again", f"{name}-changelog"]
    until("both are there", lambda: set(names) <= set(admin.list_topics(timeout=10).topics))
    topics = admin.list_topics(timeout=10).topics
    assert [len(topics[each].partitions) for each in names] == [3, 3]
    resource = ConfigResource(ResourceType.TOPIC, names[1])
    configs = admin.describe_configs([resource])[resource].result(10)
    assert configs["cleanup.policy"].value == "compact"
    if AGAINST == "ottla":
        tasks = [(row.subtopology_id, row.partitions) for row in answer.active_tasks]
        assert tasks == [("0", [0, 1, 2]), ("1", [0, 1, 2])]
        assert answer.status == []


def test_why_an_internal_topic_cannot_be_made_is_told(broker: Subject, name: str) -> None:
    create_topic(broker, name, 3)
    answer = joined(broker, name, chain(name, replication_factor=3))
    (status,) = answer.status
    assert status.status_code == MISSING_INTERNAL_TOPICS
    assert f"Internal topics are missing: {name}-" in status.status_detail
    if AGAINST == "ottla":
        assert f"; Creation failed: {name}-changelog (" in status.status_detail
        assert "replication factor of 3" in status.status_detail
