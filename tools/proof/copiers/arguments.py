"""What every copier is told."""

import argparse
from typing import NamedTuple


class Job(NamedTuple):
    """One copier's part of a copy."""

    bootstrap: str
    source: str
    target: str
    group: str
    transactional_id: str
    transaction_size: int
    """Records of a transaction, at most."""
    transaction_timeout_ms: int
    partition: int
    """Of the source, or -1: the group hands them out."""
    abort_every: int
    """Each so-manieth transaction is aborted and done again; 0: none."""
    protocol: str
    """Of the group: classic or consumer."""


def job_from_command_line() -> Job:
    """The job, from `sys.argv`."""
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "source", "target", "group", "transactional-id"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--transaction-size", type=int, default=750)
    parser.add_argument("--transaction-timeout-ms", type=int, default=40_000)
    parser.add_argument("--partition", type=int, default=-1)
    parser.add_argument("--abort-every", type=int, default=0)
    parser.add_argument("--protocol", default="classic")
    return Job(**vars(parser.parse_args()))
