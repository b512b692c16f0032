"""A group of a kind that is not served: its records are kept as they are.

A Kafka may have left it in the log. It counts as empty: its offsets can be
read and deleted, and a classic member turns it into a classic group.
"""

from collections.abc import Iterable

from ottla.coordinator.deadlines import Deadlines
from ottla.coordinator.group.history import History
from ottla.coordinator.group.kinds import Kind, Out
from ottla.coordinator.group.records import GroupRecord, ModernStored
from ottla.coordinator.group.surroundings import Surroundings
from ottla.coordinator.outcome import Waiter
from ottla.model.errors import ApiError, ErrorCode
from ottla.wire.message import Message
from ottla.wire.prefixed import encode_key


class KeptGroup:
    """See the module. `records` are the keys of all its records, by their bytes."""

    is_empty = True
    is_forgettable = False
    is_simple = False
    state_name = "Empty"

    def __init__(
        self, kind: Kind, group_id: str, surroundings: Surroundings, deadlines: Deadlines
    ) -> None:
        self.kind = kind
        self.group_id = group_id
        self.history = History()
        self._keys: dict[bytes, Message] = {}

    @property
    def protocol_type(self) -> str | None:
        return self.kind.value

    @property
    def is_gone(self) -> bool:
        return not self._keys

    def apply(self, record: GroupRecord) -> None:
        assert isinstance(record, ModernStored)
        key = encode_key(record.key)
        if record.value is None:
            self._keys.pop(key, None)
        else:
            self._keys[key] = record.key

    def loaded(self, now_ms: int) -> Out:
        return Out()

    def wake(self, key: tuple[str, ...], now_ms: int) -> Out:
        return Out()

    def topics_changed(self, topics: frozenset[str]) -> None:
        pass

    def waiters(self) -> Iterable[Waiter]:
        return ()

    def die(self) -> None:
        pass

    def tombstones(self) -> list[GroupRecord]:
        return [ModernStored(self.group_id, key, None) for key in self._keys.values()]

    def check_commit(
        self,
        member_id: str,
        instance_id: str | None,
        generation: int,
        now_ms: int,
        transactional: bool = False,
        api_version: int = 0,
    ) -> None:
        if generation >= 0:
            raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID)

    def check_fetch(self, member_id: str | None, epoch: int) -> None:
        pass

    def check_delete_offsets(self) -> None:
        pass

    def is_subscribed_to(self, topic: str) -> bool:
        return False

    def offsets_expire_from(self) -> int | None:
        return None
