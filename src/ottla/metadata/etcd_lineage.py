"""Is this still the etcd whose history we know?

Another cluster's id, or a revision that went back, means that etcd was restored
from a backup or replaced: what we hold no longer has to do with what is there,
and nothing that is asked for may be believed. It stays so until the broker is
started anew; what it knew in an earlier life it compares itself
(`broker/metadata_copy.py`).
"""

import logging

from ottla.metadata.etcd_messages import Header
from ottla.metadata.store import Revision
from ottla.model.errors import StorageError

log = logging.getLogger("ottla.metadata")


class Lineage:
    def __init__(self) -> None:
        self.cluster_id: int | None = None
        self.revision: Revision = 0
        """The highest revision seen in any answer."""

        self._broken: str | None = None

    def check(self) -> None:
        """Raise StorageError if the history was found broken."""
        if self._broken is not None:
            raise StorageError(self._broken)

    def note(self, header: Header, floor: Revision = 0) -> None:
        """Take in the header of an answer.

        `floor` is a revision that the answering member must have reached: the
        highest seen before a linearizable request was sent. Members may answer
        other requests with an older one.

        Raises:
            StorageError: it has not, or it belongs to another cluster.
        """
        self.check()
        if self.cluster_id is not None and header.cluster_id != self.cluster_id:
            self.break_off(
                f"etcd's cluster id was {self.cluster_id:x} and is {header.cluster_id:x}"
            )
        if header.revision < floor:
            self.break_off(
                f"etcd's revision went back from {floor} to {header.revision}: "
                "was it restored from a backup?"
            )
        self.cluster_id = header.cluster_id
        self.revision = max(self.revision, header.revision)

    def break_off(self, why: str) -> None:
        """Trust this etcd no more: say so once, and raise StorageError."""
        self._broken = (
            f"{why}; the metadata store is refused until the broker is started again. Where etcd "
            "was restored or replaced: stop all brokers, then `ottla cluster rebuild-metadata`"
        )
        log.error("%s", self._broken)
        raise StorageError(self._broken)
