"""The messages of a watch become `Changes`: one for each revision, never a part of one.

etcd sends whole revisions in a response, in order, and may cut a response into
fragments anywhere. So a revision is complete when an event of a later one
comes, or the last fragment. The revision in the header of a response with
events says nothing of how far the watch is (a slow watch gets old events under
a new header); that of a response without any does.
"""

from ottla.metadata.etcd_messages import PROGRESS_KEY, Event, WatchAnswer
from ottla.metadata.store import Changes, CompactedError, Put, Revision
from ottla.model.errors import PeerError


class WatchCanceledError(PeerError):
    """etcd ended the watch; it may be made again."""


class WholeRevisions:
    """Joins what belongs together. After an error, or a lost connection, `restart`."""

    def __init__(self, after_revision: Revision) -> None:
        self.seen = after_revision
        """All changes up to this revision were returned."""

        self._events: list[Event] = []

    def restart(self) -> None:
        """Forget the part of a revision that came over a connection that is lost."""
        self._events.clear()

    def take(self, answer: WatchAnswer) -> list[Changes]:
        """Return what is complete now, in order.

        Raises:
            CompactedError: changes after `seen` are forgotten, or never came.
            WatchCanceledError: for another reason.
        """
        if answer.compact_revision > 0:
            raise CompactedError(
                f"etcd forgot the changes up to revision {answer.compact_revision}, "
                f"those after {self.seen} were asked for"
            )
        if answer.is_canceled:
            raise WatchCanceledError(f"etcd ended the watch: {answer.reason or 'no reason given'}")
        complete: list[Changes] = []
        for event in answer.events:
            self._check(event)
            if self._events and event.revision > self._events[0].revision:
                complete.append(self._complete())
            self._events.append(event)
        if answer.is_fragment:
            return complete
        if self._events:
            complete.append(self._complete())
        elif not answer.events and not answer.is_created and answer.revision > self.seen:
            self.seen = answer.revision
            complete.append(Changes(answer.revision, (), ()))
        return complete

    def _check(self, event: Event) -> None:
        last = self._events[-1].revision if self._events else self.seen + 1
        if event.revision < last:
            raise CompactedError(
                f"etcd sent a change of revision {event.revision} after all of "
                f"{last if self._events else self.seen}: changes are missing"
            )

    def _complete(self) -> Changes:
        events, self._events = self._events, []
        self.seen = events[0].revision
        events = [event for event in events if event.key != PROGRESS_KEY]
        return Changes(
            self.seen,
            tuple(
                Put(event.key, event.value, event.create_revision)
                for event in events
                if event.value is not None
            ),
            tuple(event.key for event in events if event.value is None),
        )
