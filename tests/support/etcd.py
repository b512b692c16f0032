"""A real etcd for tests, where there is one."""

import os
from collections.abc import Sequence

import pytest
from tools.subject.etcd import Etcd

from ottla.cli.etcd_binary import EtcdNotFoundError


def etcd_or_skip(members: int = 1, *, scheme: str = "http", extra: Sequence[str] = ()) -> Etcd:
    """Return an etcd, not started yet; skip the test where none is found, but fail in CI."""
    try:
        return Etcd(members, scheme=scheme, extra=extra)
    except EtcdNotFoundError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
