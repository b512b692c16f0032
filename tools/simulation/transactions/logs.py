"""What the files of a transactional world say when all is over, read without the broker."""

from collections.abc import Iterator

from tools.simulation.transactions.history import (
    Decision,
    Marker,
    Placed,
    TransactionHistory,
)
from tools.simulation.world import OFFSETS, TOPIC, World

from ottla.coordinator.transaction.records import decode
from ottla.coordinator.transaction.state import PREPARED
from ottla.model.names import TRANSACTION_STATE
from ottla.record.batch import BatchHeader, batches
from ottla.record.control import read_end_txn_marker
from ottla.record.records import Record, read_records


def note_logs(world: World, history: TransactionHistory) -> None:
    """Take down what became of every record, all markers, and every decision."""
    for number in range(world.shape.partitions):
        history.placed[number] = list(_placed(world, history, TOPIC, number))
    for _ in _placed(world, history, OFFSETS, 0):
        pass
    for _, record in _records(world, TRANSACTION_STATE, 0):
        stored = decode(
            bytes(record.key or b""), None if record.value is None else bytes(record.value)
        )
        if stored is None or stored.transaction is None:
            continue
        known = stored.transaction
        history.states[known.transactional_id] = known.state.label
        if known.state in PREPARED:
            producer = known.producer_id, known.producer_epoch
            places = frozenset((each.topic, each.partition) for each in known.partitions)
            history.decisions.append(
                Decision(known.transactional_id, producer, known.commits, places)
            )


def _placed(world: World, history: TransactionHistory, topic: str, number: int) -> Iterator[Placed]:
    """The records of a log in order, with the end of their transactions; notes its markers."""
    found: list[Placed | None] = []
    pending: dict[int, list[int]] = {}
    for header, record in _records(world, topic, number):
        producer = header.producer_id, header.producer_epoch
        if header.is_control:
            marker = read_end_txn_marker(record)
            if marker is None:
                continue
            history.markers.setdefault((topic, number), []).append(
                Marker(record.offset, producer, marker.committed)
            )
            for place in pending.pop(header.producer_id, ()):
                placed = found[place]
                assert placed is not None
                found[place] = placed._replace(fate=marker.committed)
        else:
            if header.is_transactional:
                pending.setdefault(header.producer_id, []).append(len(found))
            fate = None if header.is_transactional else True
            found.append(Placed(record.offset, bytes(record.value or b""), producer, fate))
    return iter([each for each in found if each is not None])


def _records(world: World, topic: str, number: int) -> Iterator[tuple[BatchHeader, Record]]:
    directory = f"/data/{topic}-{number}"
    for name in world.disk.list(directory) if world.disk.exists(directory) else ():
        if name.endswith(".log"):
            data = world.disk.read(f"{directory}/{name}")
            for header in batches(data):
                for record in read_records(data, header.position):
                    yield header, record
