"""Who lately asked where a group is coordinated: a sign of how many are about to join.

A client asks over one connection and joins over another, so all that is known
is a number of connections. Some clients ask over two, one after the other:
one consumer is taken for alone while not more than two have asked.
"""

from collections import OrderedDict

RECENT_MS = 5_000
ALONE = 2
MAX_GROUPS = 1_000
MAX_CONNECTIONS = 16


class Lookups:
    """The connections that asked for each group, of the last few seconds; bounded."""

    __slots__ = ("_by_group",)

    def __init__(self) -> None:
        self._by_group: OrderedDict[str, dict[int, int]] = OrderedDict()

    def add(self, group_id: str, connection_id: int, now_ms: int) -> None:
        asked = self._by_group.setdefault(group_id, {})
        self._by_group.move_to_end(group_id)
        asked.pop(connection_id, None)
        asked[connection_id] = now_ms
        if len(asked) > MAX_CONNECTIONS:
            del asked[next(iter(asked))]
        if len(self._by_group) > MAX_GROUPS:
            self._by_group.popitem(last=False)

    def several(self, group_id: str, now_ms: int) -> bool:
        """Are more members to be expected than one?"""
        asked = self._by_group.get(group_id, {})
        recent = sum(now_ms - when_ms <= RECENT_MS for when_ms in asked.values())
        return recent > ALONE
