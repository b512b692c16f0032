"""DescribeRebalances, which Kafka has not: why groups rebalanced, the last times they did."""

from ottla.coordinator.group.history import Cause, Rebalance
from ottla.handlers.context import Context
from ottla.handlers.groups import DENIED
from ottla.model.errors import ApiError
from ottla.wire.generated.describe_rebalances import (
    DescribedRebalance,
    DescribeRebalancesRequest,
    DescribeRebalancesResponse,
    RebalanceCause,
    RebalancedGroup,
)


async def describe_rebalances(
    context: Context, request: DescribeRebalancesRequest
) -> DescribeRebalancesResponse:
    """One row for each group, in the order asked for; its rebalances, the oldest first."""
    response = DescribeRebalancesResponse()
    for group_id in request.group_ids:
        row = RebalancedGroup(group_id=group_id)
        response.groups.append(row)
        if not context.authorize("DESCRIBE", "GROUP", group_id):
            row.error_code = DENIED
            continue
        try:
            found = await context.broker.groups.describe_rebalances(group_id)
        except ApiError as error:
            row.error_code, row.error_message = error.code, error.message
            continue
        row.rebalances = [_described(each) for each in found]
    return response


def _described(rebalance: Rebalance) -> DescribedRebalance:
    return DescribedRebalance(
        started_at_ms=rebalance.started_at_ms,
        joined_at_ms=-1 if rebalance.joined_at_ms is None else rebalance.joined_at_ms,
        stable_at_ms=-1 if rebalance.stable_at_ms is None else rebalance.stable_at_ms,
        from_generation=rebalance.from_generation,
        generation=-1 if rebalance.generation is None else rebalance.generation,
        member_count=rebalance.member_count,
        causes=[_cause(each) for each in rebalance.causes],
        more_causes=rebalance.more_causes,
    )


def _cause(cause: Cause) -> RebalanceCause:
    return RebalanceCause(
        at_ms=cause.at_ms,
        why=cause.why.value,
        member_id=cause.member_id,
        instance_id=cause.instance_id,
        client_id=cause.client_id,
        reason=cause.reason,
    )
