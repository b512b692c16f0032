"""Opening a log after a clean or unclean stop: verify, cut the torn tail, rebuild.

How much is doubted depends on how the broker stopped:

- CLEAN: nothing. The files are complete.
- PROCESS: the process died and the kernel lives (same boot id). All that was
  written is in the page cache, so only the last batch can be torn and only the
  active segment's indexes can lack entries: it is checked from its last index
  entry on.
- MACHINE: anything above the recovery point may be torn, missing or zeroes.
  The segments that end there or later are checked whole, and their indexes made anew.

A log is cut at the first batch that is not whole, does not match its checksum
or goes back in offsets; what follows goes too, since offsets have no holes of
that kind. Each cut is one line in the log. What nobody doubts is not cut: a
closed segment whose indexes are lost gets them anew, damage in it stays for its
readers to meet.

What recovery cuts or removes is gone for good before anything is appended: a
power cut soon after must not bring it back beyond newer records.
"""

from ottla.storage.recovery.batches import verify
from ottla.storage.recovery.opening import Loaded, Stop, open_clean, recover
from ottla.storage.recovery.producers import apply_control_batch, load_producers, replay

__all__ = [
    "Loaded",
    "Stop",
    "apply_control_batch",
    "load_producers",
    "open_clean",
    "recover",
    "replay",
    "verify",
]
