"""Which leader epoch began at which offset (KIP-101, KIP-279).

The file `leader-epoch-checkpoint` is version, count and `epoch start_offset`
lines. Both columns rise strictly. It is written when an epoch begins, so it
survives the death of the process; after a power cut it is made anew from the
batches, each of which carries its epoch.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from ottla.model.ids import NO_LEADER_EPOCH, LeaderEpoch, Offset
from ottla.storage.checkpoints import pairs_text, parse_pairs

UNDEFINED_OFFSET = -1


class LeaderEpochs:
    """Epochs and their first offsets, oldest first."""

    __slots__ = ("_epochs", "_starts", "dirty")

    def __init__(self) -> None:
        self._epochs: list[LeaderEpoch] = []
        self._starts: list[Offset] = []
        self.dirty = False
        """The file does not say so yet."""

    @classmethod
    def parse(cls, data: bytes) -> "LeaderEpochs":
        """Raise CheckpointError unless `data` is a whole checkpoint file."""
        made = cls()
        for epoch, start in parse_pairs(data):
            made.assign(epoch, start)
        made.dirty = False
        return made

    def text(self) -> bytes:
        return pairs_text(zip(self._epochs, self._starts, strict=True))

    def __len__(self) -> int:
        return len(self._epochs)

    def __iter__(self) -> Iterator[tuple[LeaderEpoch, Offset]]:
        return iter(zip(self._epochs, self._starts, strict=True))

    @property
    def latest(self) -> LeaderEpoch:
        """The newest epoch, or -1."""
        return self._epochs[-1] if self._epochs else NO_LEADER_EPOCH

    def assign(self, epoch: LeaderEpoch, start_offset: Offset) -> bool:
        """Say that `epoch` begins at `start_offset`; return whether that was news.

        Entries it contradicts (as new or newer, or starting at or after it)
        are dropped: the batch in the log is right.
        """
        if self._epochs and epoch == self._epochs[-1] and start_offset >= self._starts[-1]:
            return False
        keep = min(bisect_left(self._epochs, epoch), bisect_left(self._starts, start_offset))
        del self._epochs[keep:]
        del self._starts[keep:]
        self._epochs.append(epoch)
        self._starts.append(start_offset)
        self.dirty = True
        return True

    def end_offset_for(
        self, epoch: LeaderEpoch, log_end_offset: Offset
    ) -> tuple[LeaderEpoch, Offset]:
        """Return the newest epoch not above `epoch` and where it ended; (-1, -1): unknown.

        An epoch below all known ones is returned itself, with the start of the oldest.
        """
        epochs = self._epochs
        if epoch == NO_LEADER_EPOCH or not epochs or epoch > epochs[-1]:
            return NO_LEADER_EPOCH, UNDEFINED_OFFSET
        if epoch == epochs[-1]:
            return epoch, log_end_offset
        above = bisect_right(epochs, epoch)
        if above == 0:
            return epoch, self._starts[0]
        return epochs[above - 1], self._starts[above]

    def epoch_of(self, offset: Offset) -> LeaderEpoch:
        """Return the epoch in which the record at `offset` was written, or -1."""
        at = bisect_right(self._starts, offset) - 1
        return self._epochs[at] if at >= 0 else NO_LEADER_EPOCH

    def truncate_from_end(self, end_offset: Offset) -> None:
        """Forget epochs that begin at `end_offset` or later."""
        keep = bisect_left(self._starts, end_offset)
        if keep < len(self._starts):
            del self._epochs[keep:]
            del self._starts[keep:]
            self.dirty = True

    def truncate_from_start(self, start_offset: Offset) -> None:
        """Forget what lies below; the epoch that spans `start_offset` now begins there."""
        below = bisect_right(self._starts, start_offset) - 1
        if below > 0 or (below == 0 and self._starts[0] < start_offset):
            del self._epochs[:below]
            del self._starts[:below]
            self._starts[0] = start_offset
            self.dirty = True

    def clear(self) -> None:
        if self._epochs:
            self._epochs.clear()
            self._starts.clear()
            self.dirty = True
