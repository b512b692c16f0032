"""Links to the other brokers, one each, made when first needed: for everything but fetching.

None of these requests waits long at the other end, so that they may share a link.
"""

import asyncio
from collections.abc import Callable

from ottla.metadata.image import Image
from ottla.model.errors import PeerError
from ottla.model.ids import BrokerId
from ottla.net.peer import Connector, Link, connect


class Peers:
    def __init__(
        self,
        network: Connector,
        image: Callable[[], Image],
        listener: str,
        client_id: str,
        timeout_ms: Callable[[], int],
    ) -> None:
        """`listener` is the one on which brokers talk to each other."""
        self._network = network
        self._image = image
        self._listener = listener
        self._client_id = client_id
        self._timeout_ms = timeout_ms
        self._links: dict[BrokerId, tuple[tuple[str, int], Link]] = {}
        self._locks: dict[BrokerId, asyncio.Lock] = {}

    def address(self, broker_id: BrokerId) -> tuple[str, int]:
        """Where other brokers reach a broker.

        Raises:
            PeerError: it is not registered, or not on the listener of brokers.
        """
        broker = self._image().brokers.get(broker_id)
        if broker is None:
            raise PeerError(f"broker {broker_id} is not there")
        for endpoint in broker.endpoints:
            if endpoint.listener == self._listener:
                return endpoint.host, endpoint.port
        raise PeerError(f"broker {broker_id} has no listener {self._listener}")

    async def link(self, broker_id: BrokerId) -> Link:
        """A link that was open a moment ago.

        Raises:
            PeerError: as `address`, or nobody answers there.
        """
        async with self._locks.setdefault(broker_id, asyncio.Lock()):
            address = self.address(broker_id)
            known = self._links.get(broker_id)
            if known is not None:
                if known[0] == address and not known[1].closed:
                    return known[1]
                known[1].close()
            link = await connect(
                self._network, *address, client_id=self._client_id, timeout_ms=self._timeout_ms()
            )
            self._links[broker_id] = address, link
            return link

    def close(self) -> None:
        for _, link in self._links.values():
            link.close()
