"""What a caller asked a store to do in one transaction, copied and checked."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ottla.metadata.store import Compare, LeaseId


class Request(NamedTuple):
    compare: tuple[Compare, ...]
    puts: tuple[tuple[str, bytes], ...]
    deletes: tuple[str, ...]
    leases: Mapping[str, LeaseId]

    @classmethod
    def checked(
        cls,
        compare: Iterable[Compare],
        puts: Iterable[tuple[str, bytes]],
        deletes: Iterable[str],
        leases: Mapping[str, LeaseId] | None,
    ) -> "Request":
        """Raise ValueError if a key is changed twice, or leased without being put."""
        copies = tuple((key, bytes(value)) for key, value in puts)
        request = cls(tuple(compare), copies, tuple(deletes), dict(leases or {}))
        changed: set[str] = set()
        for key in (*(key for key, _ in request.puts), *request.deletes):
            if key in changed:
                raise ValueError(f"one transaction changes the key {key!r} twice")
            changed.add(key)
        for key in request.leases:
            if key not in changed or key in request.deletes:
                raise ValueError(f"the key {key!r} has a lease and is not put")
        return request
