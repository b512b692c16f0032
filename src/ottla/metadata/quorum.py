"""Who keeps the metadata, as DescribeQuorum tells it."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from ottla.model.ids import NO_BROKER


class QuorumMember(NamedTuple):
    member_id: int
    """Of 32 bits; etcd's own ids have 64, so its members are numbered."""
    listener: str
    host: str
    port: int
    is_reached: bool = True


class Quorum(NamedTuple):
    members: Sequence[QuorumMember]
    leader: int = NO_BROKER
    term: int = 0
    is_here: bool = False
    """This broker keeps the metadata itself, alone."""


@runtime_checkable
class HasQuorum(Protocol):
    """A metadata store of several members."""

    async def quorum(self) -> Quorum:
        """Ask the members about themselves. Raises PeerError."""
