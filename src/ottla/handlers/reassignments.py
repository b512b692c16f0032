"""ElectLeaders, AlterPartitionReassignments, ListPartitionReassignments (KIP-455, KIP-460)."""

from collections.abc import Iterable
from typing import Any

from ottla.config.broker_config import BrokerConfig
from ottla.handlers.context import Context
from ottla.metadata import changes, reassignment
from ottla.metadata.controller import Writes
from ottla.metadata.image import Image, PartitionImage, TopicImage
from ottla.metadata.reassignment import Election, usable_brokers
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import BrokerId, PartitionId, TopicName
from ottla.model.steps import Steps
from ottla.wire.generated.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ReassignablePartitionResponse,
    ReassignableTopicResponse,
)
from ottla.wire.generated.elect_leaders import (
    ElectLeadersRequest,
    ElectLeadersResponse,
    PartitionResult,
    ReplicaElectionResult,
)
from ottla.wire.generated.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
    OngoingPartitionReassignment,
    OngoingTopicReassignment,
)

PREFERRED, UNCLEAN = 0, 1
FIRST_WITH_TYPE = 1
FIRST_WITH_FACTOR = 1


def min_isr(config: BrokerConfig, topic: TopicImage) -> int:
    return int(topic.configs.get("min.insync.replicas", config.min_insync_replicas))


def may_elect_uncleanly(config: BrokerConfig, topic: TopicImage) -> bool:
    own = topic.configs.get("unclean.leader.election.enable")
    return config.unclean_leader_election_enable if own is None else own.lower() == "true"


class _Draft:
    """States of partitions as one decision changes them, one after the other."""

    def __init__(self, image: Image, config: BrokerConfig) -> None:
        self.image = image
        self._config = config
        self._usable = usable_brokers(image)
        self._states: dict[tuple[TopicName, PartitionId], PartitionImage] = {}

    def find(self, topic: TopicName, number: PartitionId) -> PartitionImage | None:
        return self._states.get((topic, number)) or self.image.partition(topic, number)

    def election(self, topic: TopicName) -> Election:
        return Election(self._usable, min_isr(self._config, self.image.topics[topic]))

    def may_elect_uncleanly(self, topic: TopicName) -> bool:
        return may_elect_uncleanly(self._config, self.image.topics[topic])

    def put(self, topic: TopicName, number: PartitionId, state: PartitionImage) -> None:
        if state is not self.find(topic, number):
            self._states[topic, number] = state

    def writes(self) -> Writes:
        return Writes(
            tuple(
                changes.partition_key(self.image.topics[topic].topic_id, number, state)
                for (topic, number), state in self._states.items()
            )
        )


# Electing


async def elect_leaders(context: Context, request: ElectLeadersRequest) -> ElectLeadersResponse:
    kind = request.election_type if context.api_version >= FIRST_WITH_TYPE else PREFERRED
    if kind not in (PREFERRED, UNCLEAN):
        return _refused_election(request, f"Unknown election type {kind}")
    config = context.broker.config

    def decide(image: Image) -> Steps[tuple[Writes, Any]]:
        return _elect(_Draft(image, config), request, preferred=kind == PREFERRED)

    results = await context.broker.control.change(decide)
    return ElectLeadersResponse(replica_election_results=results)


def _refused_election(request: ElectLeadersRequest, message: str) -> ElectLeadersResponse:
    code = ErrorCode.INVALID_REQUEST
    return ElectLeadersResponse(
        error_code=code,
        replica_election_results=[
            ReplicaElectionResult(
                topic=asked.topic,
                partition_result=[
                    PartitionResult(partition_id=number, error_code=code, error_message=message)
                    for number in asked.partitions
                ],
            )
            for asked in request.topic_partitions or ()
        ],
    )


def _elect(
    draft: _Draft, request: ElectLeadersRequest, *, preferred: bool
) -> Steps[tuple[Writes, list[ReplicaElectionResult]]]:
    """Elect, a topic a step; where everything is asked for, what needs no election is not told."""
    everything = request.topic_partitions is None
    asked: Iterable[tuple[TopicName, Iterable[PartitionId]]] = (
        [(row.topic, row.partitions) for row in request.topic_partitions]
        if request.topic_partitions is not None
        else [(topic.name, range(len(topic.partitions))) for topic in draft.image.topics.values()]
    )
    results = []
    for name, numbers in asked:
        yield
        row = ReplicaElectionResult(topic=name)
        for number in numbers:
            error = _elect_one(draft, name, number, preferred=preferred)
            if error is None:
                row.partition_result.append(
                    PartitionResult(partition_id=number, error_message=None)
                )
            elif not everything or error.code is not ErrorCode.ELECTION_NOT_NEEDED:
                row.partition_result.append(
                    PartitionResult(
                        partition_id=number, error_code=error.code, error_message=error.message
                    )
                )
        results.append(row)
    return draft.writes(), results


def _elect_one(
    draft: _Draft, name: TopicName, number: PartitionId, *, preferred: bool
) -> ApiError | None:
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    if name not in draft.image.topics:
        return ApiError(unknown, f"No such topic as {name}")
    state = draft.find(name, number)
    if state is None:
        return ApiError(unknown, f"No such partition as {name}-{number}")
    after, error = reassignment.elect(state, draft.election(name), preferred=preferred)
    draft.put(name, number, after)
    return error


# Reassigning


async def alter_partition_reassignments(
    context: Context, request: AlterPartitionReassignmentsRequest
) -> AlterPartitionReassignmentsResponse:
    may_change_factor = (
        context.api_version < FIRST_WITH_FACTOR or request.allow_replication_factor_change
    )
    config = context.broker.config

    def decide(image: Image) -> Steps[tuple[Writes, Any]]:
        return _reassign(_Draft(image, config), request, may_change_factor=may_change_factor)

    results = await context.broker.control.change(decide)
    return AlterPartitionReassignmentsResponse(
        allow_replication_factor_change=may_change_factor,
        # Kafka's text is empty where it was asked for nothing.
        error_message=None if results else "",
        responses=results,
    )


def _reassign(
    draft: _Draft, request: AlterPartitionReassignmentsRequest, *, may_change_factor: bool
) -> Steps[tuple[Writes, list[ReassignableTopicResponse]]]:
    """Decide on each partition by itself, a topic a step."""
    results = []
    for topic in request.topics:
        yield
        row = ReassignableTopicResponse(name=topic.name)
        for asked in topic.partitions:
            answer = ReassignablePartitionResponse(
                partition_index=asked.partition_index, error_message=None
            )
            try:
                _reassign_one(
                    draft,
                    topic.name,
                    asked.partition_index,
                    asked.replicas,
                    may_change_factor=may_change_factor,
                )
            except ApiError as error:
                answer.error_code, answer.error_message = error.code, error.message
            row.partitions.append(answer)
        results.append(row)
    return draft.writes(), results


def _reassign_one(
    draft: _Draft,
    name: TopicName,
    number: PartitionId,
    target: list[BrokerId] | None,
    *,
    may_change_factor: bool,
) -> None:
    """Raises ApiError."""
    reassignment.find(draft.image, name, number)
    state = draft.find(name, number)
    assert state is not None
    election = draft.election(name)
    if target is None:
        unclean = draft.may_elect_uncleanly(name)
        after = reassignment.cancel(name, number, state, election, unclean=unclean)
    else:
        reassignment.check_target(draft.image, target)
        after = reassignment.reassign(state, target, election, may_change_factor=may_change_factor)
    draft.put(name, number, after)


def list_partition_reassignments(
    context: Context, request: ListPartitionReassignmentsRequest
) -> ListPartitionReassignmentsResponse:
    """Tell what is being moved, of everything or of what was asked about."""
    image = context.broker.image
    asked: Iterable[tuple[TopicName, Iterable[PartitionId]]] = (
        [(row.name, row.partition_indexes) for row in request.topics]
        if request.topics is not None
        else [(topic.name, range(len(topic.partitions))) for topic in image.topics.values()]
    )
    response = ListPartitionReassignmentsResponse(error_message=None)
    for name, numbers in asked:
        moving = [
            OngoingPartitionReassignment(
                partition_index=number,
                replicas=list(state.replicas),
                adding_replicas=list(state.adding),
                removing_replicas=list(state.removing),
            )
            for number in numbers
            if (state := image.partition(name, number)) is not None
            and (state.adding or state.removing)
        ]
        if moving:
            response.topics.append(OngoingTopicReassignment(name=name, partitions=moving))
    return response
