"""A cluster played by the test: the real `ClusterView` over links that answer from a list."""

from collections.abc import Callable
from typing import Any

from ottla.client.cluster_view import Broker, Cluster, ClusterView
from ottla.model.errors import ErrorCode
from ottla.wire.generated.find_coordinator import Coordinator, FindCoordinatorResponse
from ottla.wire.generated.metadata import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)

BROKERS = (Broker(1, "one", 9092, None), Broker(2, "two", 9092, "b"))


class PlayedLink:
    """The link to one broker, None for whichever answers first."""

    closed = False

    def __init__(self, cluster: "PlayedCluster", broker: int | None) -> None:
        self._cluster = cluster
        self._broker = broker

    def version_of(self, request_type: Any) -> int:
        return self._cluster.versions.get(request_type, int(request_type.MAX_VERSION))

    def serves(self, request_type: Any, version: int = 0) -> bool:
        return self.version_of(request_type) >= version

    async def request(self, request: Any, **how: Any) -> Any:
        cluster = self._cluster
        cluster.asked.append((self._broker, request))
        answer = cluster.answers[type(request)].pop(0)
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        pass


class PlayedCluster(ClusterView):
    """`versions` says what a broker serves at most, -1 for not at all; else it is all we know."""

    def __init__(self, *, knows_brokers: bool = True) -> None:
        super().__init__(None, [("one", 9092)])  # type: ignore[arg-type]
        if knows_brokers:
            self.cluster = Cluster("id", 1, BROKERS)
        self.versions: dict[Any, int] = {}
        self.answers: dict[Any, list[Any]] = {}
        self.asked: list[tuple[int | None, Any]] = []

    async def link(self, broker_id: int | None = None) -> Any:
        return PlayedLink(self, broker_id)

    def will_answer(self, request_type: Any, *answers: Any | Callable[[Any], Any]) -> None:
        """In this order; an exception is raised, a function is asked for the answer."""
        self.answers.setdefault(request_type, []).extend(answers)

    def requests(self, request_type: Any) -> list[Any]:
        return [request for _, request in self.asked if type(request) is request_type]

    def brokers_asked(self, request_type: Any) -> list[int | None]:
        return [broker for broker, request in self.asked if type(request) is request_type]


def topic_row(name: str, *leaders: int, error: ErrorCode = ErrorCode.NONE) -> MetadataResponseTopic:
    """A topic of Metadata; its partitions come in the reverse order."""
    return MetadataResponseTopic(
        name=name,
        error_code=error,
        topic_id=name.encode().ljust(16, b"\0"),
        partitions=[
            MetadataResponsePartition(
                partition_index=number, leader_id=leader, leader_epoch=3, replica_nodes=[1, 2],
                isr_nodes=[leader],
            )
            for number, leader in reversed(list(enumerate(leaders)))
        ],
    )  # fmt: skip


def metadata(*topics: MetadataResponseTopic, controller: int = 2) -> MetadataResponse:
    return MetadataResponse(
        cluster_id="id",
        controller_id=controller,
        brokers=[
            MetadataResponseBroker(node_id=one.broker_id, host=one.host, port=one.port)
            for one in BROKERS
        ],
        topics=list(topics),
    )


def coordinator(broker: int, error: ErrorCode = ErrorCode.NONE) -> FindCoordinatorResponse:
    row = Coordinator(key="g", node_id=broker, host="", port=0, error_code=error)
    return FindCoordinatorResponse(coordinators=[row])
