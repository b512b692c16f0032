"""etcd's members, read from its answers (pure)."""

from urllib.parse import urlsplit

from ottla.metadata.etcd_messages import JsonObject
from ottla.metadata.quorum import Quorum, QuorumMember
from ottla.model.ids import NO_BROKER

LISTENER = "ETCD"
"""What stands where Kafka names the listener of its controllers."""

FIRST = 1_000_001
"""Apart from what brokers are called: tools print both side by side."""

INT32 = 2**31 - 1


def quorum(listed: JsonObject, status: JsonObject) -> Quorum:
    """Read the answers of member/list and maintenance/status.

    etcd's ids have 64 bits: its members are numbered in the order of their ids. Learners
    have no vote and are left out. A member that has not started yet has no address.
    """
    voters = sorted(
        (each for each in listed.get("members", ()) if not each.get("isLearner")),
        key=lambda each: int(each.get("ID", 0)),
    )
    leader = int(status.get("leader", 0))
    members = []
    leader_number = NO_BROKER
    for number, each in enumerate(voters, FIRST):
        url = urlsplit(next(iter(each.get("clientURLs", ())), ""))
        members.append(
            QuorumMember(
                number, LISTENER, url.hostname or "", url.port or -1, bool(each.get("clientURLs"))
            )
        )
        if leader and int(each.get("ID", 0)) == leader:
            leader_number = number
    return Quorum(members, leader_number, int(status.get("raftTerm", 0)) & INT32)
