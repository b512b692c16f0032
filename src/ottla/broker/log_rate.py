"""A bound on how fast clients can make a logger write.

Whoever connects can have its connection closed and a line written about it,
thousands of times a second. Beyond a number of lines a second they are only
counted, and the next line that is written says how many were left out.
"""

import logging

LINES = 100
"""What may come at once, and so many more come free each second."""


class LogRate(logging.Filter):
    """A token bucket for one logger; warnings and errors always pass.

    Time is that of the records.
    """

    def __init__(self, lines: int = LINES) -> None:
        super().__init__()
        self._lines = lines
        self._free = float(lines)
        self._at_s = 0.0
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the record is written; the first after a gap tells of the gap."""
        if record.levelno >= logging.WARNING:
            return True
        passed_s = max(0.0, record.created - self._at_s)
        self._at_s = record.created
        self._free = min(self._lines, self._free + passed_s * self._lines)
        if self._free < 1:
            self._left_out += 1
            return False
        self._free -= 1
        if self._left_out:
            record.msg = f"{record.msg} (and %d lines like it, left out)"
            record.args = (*_positional(record), self._left_out)
            self._left_out = 0
        return True


def _positional(record: logging.LogRecord) -> tuple[object, ...]:
    return record.args if isinstance(record.args, tuple) else ()
