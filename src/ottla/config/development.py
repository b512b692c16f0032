"""`ottla serve --dev`: defaults for tests that never wait.

Whatever is said in another way wins. Session and transaction time-outs stay as they are: a member
that dies is noticed by its connection, and what a test wants to time out it can ask for.
"""

from collections.abc import Mapping
from types import MappingProxyType

SOON_MS = "100"

DEVELOPMENT: Mapping[str, str] = MappingProxyType(
    {
        # The first member of a group does not wait for others.
        "group.initial.rebalance.delay.ms": "0",
        "group.streams.initial.rebalance.delay.ms": "0",
        # Who dies is gone.
        "group.drop.members.on.disconnect": "true",
        # Members of the newer kinds learn of each other with their next heartbeats.
        **{
            f"group.{kind}.{name}": value
            for kind in ("consumer", "share", "streams")
            for name, value in (
                ("min.heartbeat.interval.ms", SOON_MS),
                ("heartbeat.interval.ms", SOON_MS),
                ("assignment.interval.ms", "0"),
            )
        },
    }
)
