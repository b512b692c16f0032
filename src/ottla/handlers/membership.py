"""Members whose connections close: with `group.drop.members.on.disconnect` they are removed then.

A member is tied to the connection of its last request, so that one who came
back by another connection stays when the first is gone.
"""

from functools import partial

from ottla.handlers.context import Context


def came_by(context: Context, group_id: str, member_id: str | None) -> None:
    """A member sent a request; where that is wanted, it is dropped once this connection is gone."""
    if not member_id or not context.broker.config.group_drop_members_on_disconnect:
        return
    groups = context.broker.groups
    connection_id = context.connection_id
    groups.came_by(group_id, member_id, connection_id)
    gone = partial(groups.disconnected, group_id, member_id, connection_id)
    if context.connection.closed:
        gone()
    else:
        context.client.when_closed(("member", group_id, member_id), gone)
