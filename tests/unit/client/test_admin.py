"""What is asked when topics and settings change, and what becomes of a refusal."""

import pytest
from tests.unit.client.parts import PlayedCluster, metadata, topic_row

from ottla.client.admin import Admin, ConfigChange, ConfigOperation, ConfigSource, CreatedTopic
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.isolation import ResourceType
from ottla.testing.loop import run
from ottla.wire.generated.create_partitions import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopicResult,
)
from ottla.wire.generated.create_topics import (
    CreatableTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from ottla.wire.generated.delete_topics import (
    DeletableTopicResult,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
)
from ottla.wire.generated.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
)
from ottla.wire.generated.incremental_alter_configs import (
    AlterConfigsResourceResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from ottla.wire.generated.metadata import MetadataRequest

TOPIC_ID = b"\7" * 16


def created(error: ErrorCode = ErrorCode.NONE, message: str | None = None) -> CreateTopicsResponse:
    row = CreatableTopicResult(
        name="t", topic_id=TOPIC_ID, error_code=error, error_message=message,
        num_partitions=6, replication_factor=1,
    )  # fmt: skip
    return CreateTopicsResponse(topics=[row])


def test_topics_are_listed_by_name_and_all_of_them() -> None:
    view = PlayedCluster()
    view.will_answer(MetadataRequest, metadata(topic_row("b", 1), topic_row("a", 1)))
    assert [topic.name for topic in run(Admin(view).list_topics())] == ["a", "b"]
    assert view.requests(MetadataRequest)[0].topics is None


def test_a_topic_is_created_with_the_brokers_defaults_unless_told() -> None:
    view = PlayedCluster()
    view.will_answer(CreateTopicsRequest, created())
    made = run(Admin(view).create_topic("t", configs={"retention.ms": "5"}))
    assert made == CreatedTopic("t", TOPIC_ID, 6, 1)
    (asked,) = view.requests(CreateTopicsRequest)
    assert (asked.topics[0].num_partitions, asked.topics[0].replication_factor) == (-1, -1)
    assert [(each.name, each.value) for each in asked.topics[0].configs] == [("retention.ms", "5")]


def test_a_refusal_has_the_brokers_words_and_the_topics_name() -> None:
    view = PlayedCluster()
    view.will_answer(CreateTopicsRequest, created(ErrorCode.INVALID_PARTITIONS, "0 is too few"))
    with pytest.raises(ApiError, match="topic 't': 0 is too few") as caught:
        run(Admin(view).create_topic("t"))
    assert caught.value.code is ErrorCode.INVALID_PARTITIONS


def test_who_is_not_the_controller_says_who_is() -> None:
    view = PlayedCluster()
    view.will_answer(CreateTopicsRequest, created(ErrorCode.NOT_CONTROLLER), created())
    view.will_answer(MetadataRequest, metadata(controller=2))
    run(Admin(view).create_topic("t"))
    assert view.brokers_asked(CreateTopicsRequest) == [None, 2]


@pytest.mark.parametrize("version", [5, 6])
def test_each_deletion_has_an_outcome_of_its_own(version: int) -> None:
    view = PlayedCluster()
    view.versions[DeleteTopicsRequest] = version
    rows = [
        DeletableTopicResult(name="a"),
        DeletableTopicResult(name="b", error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ]
    view.will_answer(DeleteTopicsRequest, DeleteTopicsResponse(responses=rows))
    outcome = run(Admin(view).delete_topics(["a", "b"]))
    assert outcome["a"] is None
    assert outcome["b"] is not None
    assert outcome["b"].code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    (asked,) = view.requests(DeleteTopicsRequest)
    assert ([each.name for each in asked.topics] or asked.topic_names) == ["a", "b"]
    assert bool(asked.topics) == (version == 6)


def test_a_topic_that_grew_is_asked_for_again() -> None:
    view = PlayedCluster()
    view.will_answer(MetadataRequest, metadata(topic_row("t", 1)))
    result = CreatePartitionsTopicResult(name="t")
    view.will_answer(CreatePartitionsRequest, CreatePartitionsResponse(results=[result]))

    async def scenario() -> None:
        await view.topic("t")
        await Admin(view).add_partitions("t", 3)

    run(scenario())
    assert view.topics == {}
    assert view.requests(CreatePartitionsRequest)[0].topics[0].count == 3


def described(*rows: DescribeConfigsResourceResult) -> DescribeConfigsResponse:
    return DescribeConfigsResponse(results=[DescribeConfigsResult(configs=list(rows))])


def test_settings_come_by_name_and_say_whether_they_are_defaults() -> None:
    view = PlayedCluster()
    view.will_answer(
        DescribeConfigsRequest,
        described(
            DescribeConfigsResourceResult(name="b", value="1", config_source=1),
            DescribeConfigsResourceResult(name="a", value="2", config_source=5),
            DescribeConfigsResourceResult(name="c", value="3", config_source=99),
        ),
    )
    entries = run(Admin(view).describe_configs(ResourceType.TOPIC, "t"))
    assert [(each.name, each.source, each.is_default) for each in entries] == [
        ("a", ConfigSource.DEFAULT_CONFIG, True),
        ("b", ConfigSource.DYNAMIC_TOPIC_CONFIG, False),
        ("c", ConfigSource.UNKNOWN, True),
    ]
    assert view.requests(DescribeConfigsRequest)[0].resources[0].configuration_keys is None


@pytest.mark.parametrize(
    ("kind", "name", "asked"),
    [
        (ResourceType.TOPIC, "t", None),
        (ResourceType.BROKER, "2", 2),
        (ResourceType.BROKER, "", None),
        (ResourceType.BROKER_LOGGER, "1", 1),
    ],
)
def test_a_brokers_settings_are_asked_of_that_broker(
    kind: ResourceType, name: str, asked: int | None
) -> None:
    view = PlayedCluster()
    view.will_answer(DescribeConfigsRequest, described())
    answer = AlterConfigsResourceResponse()
    view.will_answer(
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse(responses=[answer])
    )
    run(Admin(view).describe_configs(kind, name))
    run(Admin(view).alter_configs(kind, name, []))
    assert [broker for broker, _ in view.asked] == [asked, asked]


@pytest.mark.parametrize("version", [2, 3])
def test_documentation_is_asked_for_where_it_is_known(version: int) -> None:
    view = PlayedCluster()
    view.versions[DescribeConfigsRequest] = version
    view.will_answer(DescribeConfigsRequest, described())
    run(Admin(view).describe_configs(ResourceType.TOPIC, "t", ["a"], documentation=True))
    assert view.requests(DescribeConfigsRequest)[0].include_documentation is (version == 3)


def test_a_refused_change_of_settings_names_the_resource() -> None:
    view = PlayedCluster()
    row = AlterConfigsResourceResponse(
        error_code=ErrorCode.INVALID_CONFIG, error_message="not a number"
    )
    view.will_answer(
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse(responses=[row])
    )
    change = ConfigChange(ConfigOperation.SET, "x.ms", "soon")
    with pytest.raises(ApiError, match="client metrics 'm': not a number"):
        run(Admin(view).alter_configs(ResourceType.CLIENT_METRICS, "m", [change]))
    (asked,) = view.requests(IncrementalAlterConfigsRequest)
    (config,) = asked.resources[0].configs
    assert (config.name, config.config_operation, config.value) == ("x.ms", 0, "soon")
