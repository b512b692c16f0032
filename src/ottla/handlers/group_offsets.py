"""OffsetCommit, OffsetFetch, OffsetDelete.

Which topics and partitions exist, and who may see them, is decided here; what
remains goes to the group coordinator by name.
"""

from collections.abc import Iterable, Iterator

from ottla.handlers.context import Context
from ottla.handlers.groups import DENIED, caller_of
from ottla.handlers.resolve import topic_by_name, topic_of
from ottla.handlers.slices import Slices
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicName, Uuid
from ottla.wire.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from ottla.wire.generated.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)
from ottla.wire.generated.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
)

FIRST_WITH_TOPIC_IDS = 10
FIRST_WITH_GROUPS = 8
FIRST_WITH_ERROR = 2
"""Version 1 of OffsetFetch has errors at partitions only."""

PORTION = 200
"""Partitions committed at once: some 2 ms."""

FETCHED_AT_ONCE = 1_000
"""Partitions looked up at once: some 1 ms."""


# OffsetCommit


async def offset_commit(context: Context, request: OffsetCommitRequest) -> OffsetCommitResponse:
    """Partitions that do not exist are answered first, and do not keep the others back.

    Many are committed in portions, each of them one batch: what a portion is
    answered holds for its partitions alone.
    """
    response = OffsetCommitResponse()
    if not context.authorize("READ", "GROUP", request.group_id):
        for topic in request.topics:
            _answer_commit(response, topic, topic.partitions, DENIED)
        return response
    topics = request.topics
    are_few = sum(len(topic.partitions) for topic in topics) <= PORTION
    slices = Slices(context.broker.transport_clock)
    answered = []
    for portion in _portions(_known_parts(context, response, topics)):
        request.topics = portion
        committed = await _commit(context, request)
        if are_few and not response.topics:
            return committed
        answered += committed.topics
        if not are_few:
            await slices.rest()
    joined: dict[tuple[TopicName, Uuid], OffsetCommitResponseTopic] = {}
    for part in (*response.topics, *answered):
        whole = joined.setdefault((part.name, part.topic_id), part)
        if whole is not part:
            whole.partitions += part.partitions
    response.topics = list(joined.values())
    return response


def _portions(
    topics: Iterable[OffsetCommitRequestTopic],
) -> Iterator[list[OffsetCommitRequestTopic]]:
    """The same partitions in the same order, PORTION of them at a time."""
    portion: list[OffsetCommitRequestTopic] = []
    room = PORTION
    for topic in topics:
        rest = topic.partitions
        while rest:
            some, rest = rest[:room], rest[room:]
            portion.append(
                OffsetCommitRequestTopic(name=topic.name, topic_id=topic.topic_id, partitions=some)
            )
            room -= len(some)
            if not room:
                yield portion
                portion, room = [], PORTION
    if portion:
        yield portion


async def _commit(context: Context, request: OffsetCommitRequest) -> OffsetCommitResponse:
    """What the coordinator says; an error of the group is that of each partition."""
    try:
        return await context.broker.groups.commit_offsets(request, caller_of(context))
    except ApiError as error:
        response = OffsetCommitResponse()
        for topic in request.topics:
            _answer_commit(response, topic, topic.partitions, error.code)
        return response


def _known_parts(
    context: Context, response: OffsetCommitResponse, topics: Iterable[OffsetCommitRequestTopic]
) -> Iterator[OffsetCommitRequestTopic]:
    """The topics with their partitions that exist now; the others are answered."""
    by_id = context.api_version >= FIRST_WITH_TOPIC_IDS
    for topic in topics:
        found = topic_of(context, "READ", topic.name, topic.topic_id, by_id=by_id)
        if isinstance(found, ErrorCode):
            _answer_commit(response, topic, topic.partitions, found)
            continue
        topic.name = found.name
        topic.topic_id = found.topic_id
        count = len(found.partitions)
        unknown = [part for part in topic.partitions if not 0 <= part.partition_index < count]
        if unknown:
            _answer_commit(response, topic, unknown, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
            topic.partitions = [
                part for part in topic.partitions if 0 <= part.partition_index < count
            ]
        yield topic


def _answer_commit(
    response: OffsetCommitResponse,
    topic: OffsetCommitRequestTopic,
    partitions: list[OffsetCommitRequestPartition],
    code: ErrorCode,
) -> None:
    answered = OffsetCommitResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        partitions=[
            OffsetCommitResponsePartition(partition_index=part.partition_index, error_code=code)
            for part in partitions
        ],
    )
    response.topics.append(answered)


# OffsetFetch


async def offset_fetch(context: Context, request: OffsetFetchRequest) -> OffsetFetchResponse:
    """Before version 8 one group, whose answer is the whole answer."""
    version = context.api_version
    if version >= FIRST_WITH_GROUPS:
        return OffsetFetchResponse(
            groups=[
                await _fetch_group(context, group, request.require_stable)
                for group in request.groups
            ]
        )
    topics = request.topics
    group = OffsetFetchRequestGroup(
        group_id=request.group_id,
        topics=None
        if topics is None
        else [
            OffsetFetchRequestTopics(name=topic.name, partition_indexes=topic.partition_indexes)
            for topic in topics
        ],
    )
    found = await _fetch_group(context, group, request.require_stable)
    return OffsetFetchResponse(
        error_code=found.error_code if version >= FIRST_WITH_ERROR else 0,
        topics=[
            OffsetFetchResponseTopic(
                name=topic.name,
                partitions=[
                    OffsetFetchResponsePartition(
                        partition_index=part.partition_index,
                        committed_offset=part.committed_offset,
                        committed_leader_epoch=part.committed_leader_epoch,
                        metadata=part.metadata,
                        error_code=part.error_code,
                    )
                    for part in topic.partitions
                ],
            )
            for topic in found.topics
        ],
    )


async def _fetch_group(
    context: Context, group: OffsetFetchRequestGroup, require_stable: bool
) -> OffsetFetchResponseGroup:
    if not context.authorize("DESCRIBE", "GROUP", group.group_id):
        return _group_error(context, group, DENIED)
    try:
        if group.topics is None:
            return await _fetch_all(context, group, require_stable)
        return await _fetch_some(context, group, group.topics, require_stable)
    except ApiError as error:
        return _group_error(context, group, error.code)


async def _fetch_all(
    context: Context, group: OffsetFetchRequestGroup, require_stable: bool
) -> OffsetFetchResponseGroup:
    """Of every topic that the client may know of and, where ids are asked for, that has one."""
    asked = await context.broker.groups.committed_topics(group.group_id)
    found = await _fetch_portions(context, group, asked, require_stable)
    topics = []
    for topic in found.topics:
        # What was deleted since they were asked for is not there, and no error.
        topic.partitions = [part for part in topic.partitions if not _is_absent(part)]
        if not topic.partitions:
            continue
        if not context.authorize("DESCRIBE", "TOPIC", topic.name):
            continue
        if context.api_version >= FIRST_WITH_TOPIC_IDS:
            image = context.broker.image.topics.get(topic.name)
            if image is None:
                continue
            topic.topic_id = image.topic_id
        topics.append(topic)
    found.topics = topics
    return found


async def _fetch_some(
    context: Context,
    group: OffsetFetchRequestGroup,
    topics: list[OffsetFetchRequestTopics],
    require_stable: bool,
) -> OffsetFetchResponseGroup:
    asked = []
    failed = []
    for topic in topics:
        code = _resolve(context, topic)
        if code is None:
            asked.append(topic)
        else:
            failed.append(_failed_topic(topic.name, topic.topic_id, topic.partition_indexes, code))
    found = await _fetch_portions(context, group, asked, require_stable)
    found.topics += failed
    return found


async def _fetch_portions(
    context: Context,
    group: OffsetFetchRequestGroup,
    topics: list[OffsetFetchRequestTopics],
    require_stable: bool,
) -> OffsetFetchResponseGroup:
    """Many are looked up in portions of whole topics."""
    groups = context.broker.groups
    slices = Slices(context.broker.transport_clock)
    group.topics = portion = []
    found = None
    count = 0
    for topic in topics:
        portion.append(topic)
        count += len(topic.partition_indexes)
        if count >= FETCHED_AT_ONCE:
            found = _joined(found, await groups.fetch_offsets(group, require_stable))
            group.topics = portion = []
            count = 0
            await slices.rest()
    if found is None or portion:
        found = _joined(found, await groups.fetch_offsets(group, require_stable))
    await slices.rest_before_answer()
    return found


def _is_absent(part: OffsetFetchResponsePartitions) -> bool:
    return part.committed_offset == -1 and part.error_code == ErrorCode.NONE


def _joined(
    before: OffsetFetchResponseGroup | None, found: OffsetFetchResponseGroup
) -> OffsetFetchResponseGroup:
    if before is None:
        return found
    before.topics += found.topics
    return before


def _resolve(context: Context, topic: OffsetFetchRequestTopics) -> ErrorCode | None:
    """Give a topic asked for by id its name. By name it need not exist any more."""
    if context.api_version >= FIRST_WITH_TOPIC_IDS:
        found = topic_of(context, "DESCRIBE", "", topic.topic_id, by_id=True)
        if isinstance(found, ErrorCode):
            return found
        topic.name = found.name
    elif not context.authorize("DESCRIBE", "TOPIC", topic.name):
        return ErrorCode.TOPIC_AUTHORIZATION_FAILED
    return None


def _failed_topic(
    name: str, topic_id: Uuid, indexes: list[int], code: ErrorCode
) -> OffsetFetchResponseTopics:
    return OffsetFetchResponseTopics(
        name=name,
        topic_id=topic_id,
        partitions=[
            OffsetFetchResponsePartitions(
                partition_index=index, committed_offset=-1, metadata="", error_code=code
            )
            for index in indexes
        ],
    )


def _group_error(
    context: Context, group: OffsetFetchRequestGroup, code: ErrorCode
) -> OffsetFetchResponseGroup:
    if context.api_version >= FIRST_WITH_ERROR:
        return OffsetFetchResponseGroup(group_id=group.group_id, error_code=code)
    return OffsetFetchResponseGroup(
        group_id=group.group_id,
        topics=[
            _failed_topic(topic.name, topic.topic_id, topic.partition_indexes, code)
            for topic in group.topics or []
        ],
    )


# OffsetDelete


async def offset_delete(context: Context, request: OffsetDeleteRequest) -> OffsetDeleteResponse:
    """An error of the group is the whole answer. Many are deleted in portions, as they are committed."""
    if not context.authorize("DELETE", "GROUP", request.group_id):
        return OffsetDeleteResponse(error_code=DENIED)
    slices = Slices(context.broker.transport_clock)
    unknown: list[OffsetDeleteResponseTopic] = []
    deleted: list[OffsetDeleteResponseTopic] = []
    are_few = sum(len(topic.partitions) for topic in request.topics) <= PORTION
    portion: list[OffsetDeleteRequestTopic] = []
    room = PORTION
    try:
        for topic in request.topics:
            rest = _deletable(context, topic, unknown)
            while rest:
                some, rest = rest[:room], rest[room:]
                portion.append(OffsetDeleteRequestTopic(name=topic.name, partitions=some))
                room -= len(some)
                if not room:
                    deleted += await _delete(context, request.group_id, portion)
                    portion, room = [], PORTION
                    if not are_few:
                        await slices.rest()
        if portion or not deleted:  # one at least, since the group may have an error
            deleted += await _delete(context, request.group_id, portion)
    except ApiError as error:
        return OffsetDeleteResponse(error_code=error.code)
    by_name: dict[TopicName, OffsetDeleteResponseTopic] = {}
    for part in (*unknown, *deleted):
        whole = by_name.setdefault(part.name, part)
        if whole is not part:
            whole.partitions += part.partitions
    return OffsetDeleteResponse(topics=list(by_name.values()))


def _deletable(
    context: Context, topic: OffsetDeleteRequestTopic, unknown: list[OffsetDeleteResponseTopic]
) -> list[OffsetDeleteRequestPartition]:
    """The partitions that exist; the others are answered."""
    found = topic_by_name(context, "READ", topic.name)
    if isinstance(found, ErrorCode):
        unknown.append(_undeleted(topic.name, topic.partitions, found))
        return []
    count = len(found.partitions)
    missing = [part for part in topic.partitions if not 0 <= part.partition_index < count]
    if not missing:
        return topic.partitions
    unknown.append(_undeleted(topic.name, missing, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION))
    return [part for part in topic.partitions if 0 <= part.partition_index < count]


async def _delete(
    context: Context, group_id: str, topics: list[OffsetDeleteRequestTopic]
) -> list[OffsetDeleteResponseTopic]:
    asked = OffsetDeleteRequest(group_id=group_id, topics=topics)
    return (await context.broker.groups.delete_offsets(asked)).topics


def _undeleted(
    name: str, partitions: list[OffsetDeleteRequestPartition], code: ErrorCode
) -> OffsetDeleteResponseTopic:
    return OffsetDeleteResponseTopic(
        name=name,
        partitions=[
            OffsetDeleteResponsePartition(partition_index=part.partition_index, error_code=code)
            for part in partitions
        ],
    )
