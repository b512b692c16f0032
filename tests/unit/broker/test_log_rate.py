import logging

from ottla.broker.log_rate import LogRate


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def log(rate: LogRate, lines: Lines, at_s: float, level: int = logging.INFO) -> None:
    record = logging.LogRecord("ottla.net", level, "", 0, "closing %s:%d", ("host", 7), None)
    record.created = at_s
    if rate.filter(record):
        lines.emit(record)


def test_so_many_lines_a_second_and_then_how_many_were_left_out() -> None:
    rate, lines = LogRate(10), Lines()
    for _ in range(1_000):
        log(rate, lines, 100.0)
    assert lines.texts == ["closing host:7"] * 10
    log(rate, lines, 100.5)
    assert lines.texts[10:] == ["closing host:7 (and 990 lines like it, left out)"]
    log(rate, lines, 200.0)
    assert lines.texts[11:] == ["closing host:7"]


def test_a_clock_that_goes_back_stops_nothing_for_long() -> None:
    rate, lines = LogRate(10), Lines()
    for _ in range(100):
        log(rate, lines, 100.0)
    log(rate, lines, 50.0)
    log(rate, lines, 51.0)
    assert len(lines.texts) == 11


def test_warnings_always_pass() -> None:
    rate, lines = LogRate(10), Lines()
    for _ in range(100):
        log(rate, lines, 100.0, logging.WARNING)
    assert len(lines.texts) == 100
