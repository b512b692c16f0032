"""What runs in the worker process (`worker_process`): one job after the other, until input ends."""

import os
import pickle
import select
import signal
import time
from struct import Struct
from typing import Any

from ottla.broker.pace import Pace
from ottla.model.workers import SteppedJob

NICENESS = 10
LENGTH = Struct(">I")
INPUT, OUTPUT = 0, 1


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    # What anything prints must not get between the answers.
    answers = os.dup(OUTPUT)
    os.dup2(2, OUTPUT)
    while True:
        head = _read(LENGTH.size)
        if head is None:
            return
        data = _read(LENGTH.unpack(head)[0])
        if data is None:
            return
        job, bytes_per_second = pickle.loads(data)
        try:
            _run(job, bytes_per_second, answers)
        except BrokenPipeError:
            return
        except Exception as error:
            _tell(answers, "failed", _portable(error))
        else:
            _tell(answers, "done", None)


def _run(job: SteppedJob, bytes_per_second: float, answers: int) -> None:
    pace = Pace(bytes_per_second, time.monotonic())
    for step in job.steps():
        rest = 0.0
        if isinstance(step, int):
            rest = pace.rest(step, time.monotonic())
        else:
            _tell(answers, "told", step)
        # During a job nothing is sent: what can be read is the end, the broker is gone.
        if select.select([INPUT], [], [], rest)[0]:
            os._exit(0)


def _portable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(repr(error))
    return error


def _tell(answers: int, kind: str, value: Any) -> None:
    data = pickle.dumps((kind, value))
    view = memoryview(LENGTH.pack(len(data)) + data)
    while view:
        view = view[os.write(answers, view) :]


def _read(size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        more = os.read(INPUT, size - len(data))
        if not more:
            return None
        data += more
    return data


if __name__ == "__main__":
    main()
