"""etcd's members as a quorum."""

from ottla.metadata.etcd_quorum import quorum
from ottla.metadata.quorum import QuorumMember

LISTED = {
    "members": [
        {"ID": "13803658152347727308", "name": "c", "clientURLs": ["http://10.0.0.3:2379"]},
        {"ID": "10501334649042878790", "name": "a", "clientURLs": ["https://etcd-1:2379"]},
        {"ID": "9372538179322589801", "name": "learner", "isLearner": True},
        {"ID": "11249924812374127891", "name": ""},
    ]
}


def test_members_are_numbered_in_the_order_of_their_ids() -> None:
    found = quorum(LISTED, {"leader": "13803658152347727308", "raftTerm": "7"})
    assert found.members == [
        QuorumMember(1_000_001, "ETCD", "etcd-1", 2379, True),
        QuorumMember(1_000_002, "ETCD", "", -1, False),
        QuorumMember(1_000_003, "ETCD", "10.0.0.3", 2379, True),
    ]
    assert (found.leader, found.term, found.is_here) == (1_000_003, 7, False)


def test_without_a_leader_nobody_leads() -> None:
    assert quorum(LISTED, {}).leader == -1
