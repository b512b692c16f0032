"""What can be simulated, by name."""

from collections.abc import Callable

from tools.simulation import run as records
from tools.simulation.cluster import compacted, grouped, shared, transactional, upkeep
from tools.simulation.cluster import run as cluster
from tools.simulation.groups import run as groups
from tools.simulation.life import Ran
from tools.simulation.shares import run as shares
from tools.simulation.transactions import run as transactions

WORLDS: dict[str, Callable[..., Ran]] = {
    "records": records.run,
    "transactions": transactions.run,
    "groups": groups.run,
    "shares": shares.run,
    "cluster": cluster.run,
    "cluster-transactions": transactional.run,
    "cluster-upkeep": upkeep.run,
    "cluster-compacted": compacted.run,
    "cluster-groups": grouped.run,
    "cluster-shares": shared.run,
}
"""Each is called with a seed, and perhaps `trace`, a list for every line of what happened."""
