"""Who keeps the metadata: the members of a store that has some, else this broker."""

from collections.abc import Callable

from ottla.config.broker_config import BrokerConfig
from ottla.metadata.image import Image
from ottla.metadata.quorum import HasQuorum, Quorum, QuorumMember
from ottla.metadata.store import Store


async def quorum_of(store: Store, config: BrokerConfig, image: Callable[[], Image]) -> Quorum:
    """Raises: PeerError, no member answers."""
    if isinstance(store, HasQuorum):
        return await store.quorum()
    me = config.node_id
    known = image().brokers.get(me)
    listener = config.listeners[0]
    host, port = listener.host, listener.port
    if known is not None and known.endpoints:
        host, port = known.endpoints[0].host, known.endpoints[0].port
    member = QuorumMember(me, listener.name, host, port)
    return Quorum((member,), leader=me, term=1, is_here=True)
