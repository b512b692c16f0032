"""`python -m tools.proof`: run the long counts and append them to the committed tables."""

import os
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import click
from tests.support.target import running_target
from tools.cluster.network import NoNetworkError
from tools.cluster.shapes import SHAPES
from tools.proof import (
    cluster_faults,
    cluster_shapes,
    copy_places,
    etcd,
    frames,
    fuzz,
    kill9,
    power,
    simulation,
    streams,
    table,
    transactional_copy,
)
from tools.subject import Ottla

from ottla.cli.etcd_binary import EtcdNotFoundError

PARTS = (
    "decoders",
    "frames",
    "simulation",
    "transactions",
    "groups",
    "shares",
    "cluster",
    "cluster-transactions",
    "cluster-upkeep",
    "cluster-compacted",
    "cluster-groups",
    "cluster-shares",
    "power",
    "kill9",
    "cluster-faults",
    "cluster-shapes",
    "transactional-copy",
    "streams",
    "etcd",
)
LEASE_MS = 4_000
"""Of a broker in a cluster whose shapes are tried; the default of `broker.session.timeout.ms`."""
SIMULATED = {
    "simulation": "records",
    "transactions": "transactions",
    "groups": "groups",
    "shares": "shares",
    "cluster": "cluster",
    "cluster-transactions": "cluster-transactions",
    "cluster-upkeep": "cluster-upkeep",
    "cluster-compacted": "cluster-compacted",
    "cluster-groups": "cluster-groups",
    "cluster-shares": "cluster-shares",
}
"""Tables of simulated lives, and what is lived through in each."""


def prove_kill9(cycles: int, seed: int) -> bool:
    """kill -9 under load, `cycles` times; whether nothing was violated."""
    with tempfile.TemporaryDirectory() as folder:
        subject = Ottla(Path(folder) / "data")
        subject.start()
        began = time.monotonic()
        try:
            outcome = kill9.run(subject, cycles, seed, click.echo)
        finally:
            subject.kill9()
        codecs = kill9.batches_by_codec(Path(folder) / "data")
    restarts = sorted(cycle.restart_s for cycle in outcome.cycles)
    page = table.append(
        "kill9",
        {
            "cycles": len(outcome.cycles),
            "acknowledged": outcome.acknowledged,
            "read": outcome.read,
            "requests_in_flight": sum(cycle.requests_in_flight for cycle in outcome.cycles),
            "idempotent_producers": kill9.PRODUCERS,
            "batches_by_codec": " ".join(f"{name} {count}" for name, count in codecs.items()),
            "lost": outcome.wrong["lost"],
            "duplicated": outcome.wrong["duplicate"],
            "reordered": outcome.wrong["order"],
            "holes": outcome.wrong["hole"],
            "restart_s_median": round(restarts[len(restarts) // 2], 3),
            "violations": len(outcome.violations),
            "seconds": round(time.monotonic() - began),
            "seed": seed,
            "each": [list(cycle) for cycle in outcome.cycles],
        },
    )
    return _concluded(outcome.violations, f"{len(outcome.cycles)} cycles", page)


def prove_transactional_copy(plan: transactional_copy.Plan, flushed: bool, brokers: int) -> bool:
    """A copy in transactions, copiers and brokers killed; whether it is the source, exactly.

    Raises:
        ClickException: several brokers, and there is no etcd.
    """
    settings = transactional_copy.SETTINGS
    settings = settings | ({"log.flush.interval.messages": "1"} if flushed else {})
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        place: copy_places.CopyPlace
        if brokers == 1:
            subject = Ottla(folder / "data", settings=settings)
            stack.callback(subject.kill9)
            subject.start()
            place = copy_places.OneBroker(subject)
        else:
            try:
                cluster = copy_places.a_cluster(folder, brokers, settings)
            except EtcdNotFoundError as error:
                raise click.ClickException(str(error)) from None
            place = copy_places.ManyBrokers(stack.enter_context(cluster))
        began = time.monotonic()
        outcome = transactional_copy.run(place, plan, folder, click.echo)
    page = table.append(
        "transactional-copy",
        {
            "client": plan.client,
            "brokers": brokers,
            "mode": power.MODES[flushed],
            "records": plan.records,
            "a_transaction": plan.transaction_size,
            "aborted_each": plan.abort_every,
            "broker_kills": outcome.broker_kills,
            "copier_kills": outcome.copier_kills,
            "copiers_that_gave_up": outcome.gave_up,
            "read": outcome.read,
            "read_uncommitted": outcome.read_uncommitted,
            "lost": outcome.wrong["lost"],
            "duplicated": outcome.wrong["duplicate"],
            "reordered": outcome.wrong["order"],
            "seen_otherwise_meanwhile": outcome.wrong["meanwhile"],
            "violations": len(outcome.violations),
            "seconds": round(time.monotonic() - began),
            "command": "python -m tools.proof --only transactional-copy "
            f"--copy-client {plan.client} --copy-records {plan.records} "
            f"--copy-kills {plan.broker_kills} --seed {plan.seed}"
            f"{' --copy-flushed' if flushed else ''}"
            f"{f' --copy-brokers {brokers}' if brokers > 1 else ''}",
        },
    )
    return _concluded(outcome.violations, f"{plan.records:,} records with {plan.client}", page)


def prove_cluster_faults(plan: cluster_faults.Plan) -> bool:
    """Faults of every kind in a cluster under load; whether its clients saw nothing of them.

    Raises:
        ClickException: there is no etcd, or no network can be made.
    """
    began = time.monotonic()
    try:
        outcome = cluster_faults.run(plan, click.echo)
    except (NoNetworkError, EtcdNotFoundError) as error:
        raise click.ClickException(f"cluster-faults: {error}") from error
    kinds = outcome.unavailability()
    for kind, (count, median, worst) in kinds.items():
        click.echo(f"{kind:40} {count:4}   silent {median:6.2f} s median {worst:6.2f} s worst")
    page = table.append(
        "cluster-faults",
        {
            "cycles": len(outcome.cycles),
            "etcd": f"{outcome.etcd}, members: {plan.etcd_members}",
            "acknowledged": outcome.acknowledged,
            "read": outcome.read,
            **{kind: outcome.wrong[kind] for kind in ("lost", "duplicate", "inconsistent")},
            "other_violations": sum(outcome.wrong.values())
            - sum(outcome.wrong[kind] for kind in ("lost", "duplicate", "inconsistent")),
            **{
                f"{name}_median_worst": f"{median} / {worst}"
                for name, (median, worst) in outcome.summary().items()
            },
            "clients_replaced": outcome.clients_replaced,
            "seconds": round(time.monotonic() - began),
            "command": f"python -m tools.proof --only cluster-faults --cycles {plan.cycles} "
            f"--etcd-members {plan.etcd_members} --seed {plan.seed}"
            f"{'' if plan.network else ' --loopback'}"
            + "".join(f" --fault '{kind}'" for kind in plan.kinds),
            "by_kind": {kind: list(figures) for kind, figures in kinds.items()},
            "each_violation": outcome.violations[:100],
        },
    )
    return _concluded(outcome.violations, f"{len(outcome.cycles)} cycles", page)


def prove_cluster_shapes(names: tuple[str, ...], rounds: int, seed: int, etcd_members: int) -> bool:
    """Each shape on a cluster of its own; whether its clients saw nothing of it.

    Raises:
        ClickException: there is no etcd, or no network can be made.
    """
    held = True
    for shape in SHAPES:
        if names and shape.name not in names:
            continue
        began = time.monotonic()
        try:
            outcome = cluster_shapes.run(shape, rounds, seed, etcd_members, LEASE_MS, click.echo)
        except (NoNetworkError, EtcdNotFoundError) as error:
            raise click.ClickException(f"cluster-shapes: {error}") from error
        kinds = outcome.unavailability()
        page = table.append(
            "cluster-shapes",
            {
                "shape": shape.name,
                "rounds": rounds,
                "etcd": f"{outcome.etcd}, members: {etcd_members}",
                "acknowledged": outcome.acknowledged,
                "read": outcome.read,
                **{kind: outcome.wrong[kind] for kind in ("lost", "duplicate", "inconsistent")},
                "other_violations": sum(outcome.wrong.values())
                - sum(outcome.wrong[kind] for kind in ("lost", "duplicate", "inconsistent")),
                "read_again_by_the_group": outcome.repeated,
                "silent_s_median_worst": "; ".join(
                    f"{kind}: {median} / {worst} ({count})"
                    for kind, (count, median, worst) in kinds.items()
                ),
                "seconds": round(time.monotonic() - began),
                "command": "python -m tools.proof --only cluster-shapes "
                f"--shape '{shape.name}' --shape-rounds {rounds} --seed {seed} "
                f"--etcd-members {etcd_members}",
                "commits_refused": dict(outcome.commits_refused),
                "each_violation": outcome.violations[:100],
            },
        )
        held &= _concluded(outcome.violations, f"{rounds} rounds of {shape.name}", page)
    return held


def prove_streams(topology: str, protocol: str, kills: int, seed: int) -> bool:
    """Kafka Streams counting while all are killed; whether each count is there once."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        subject = Ottla(data, settings=streams.SETTINGS, arguments=streams.TOPICS)
        subject.start()
        try:
            outcome = streams.run(
                subject, Path(folder), topology, protocol, kills, seed, click.echo
            )
        finally:
            subject.kill9()
    page = table.append(
        "streams",
        {
            "topology": topology,
            "protocol": protocol,
            "counts": outcome.outputs,
            "broker_kills": outcome.broker_kills,
            "instance_kills": outcome.instance_kills,
            "violations": len(outcome.violations),
            "seconds": round(time.monotonic() - began),
            "command": f"python -m tools.proof --only streams --streams-kills {kills} --seed {seed}",
        },
    )
    return _concluded(outcome.violations, f"{topology} by the {protocol} protocol", page)


def prove_etcd(faults: int, seed: int) -> bool:
    """The store of a cluster on members of etcd that die, stall and forget."""
    began = time.monotonic()
    versions: list[str] = []

    def say(line: str) -> None:
        versions.append(line)
        click.echo(line)

    outcome = etcd.run(faults, seed, say)
    page = table.append(
        "etcd",
        {
            "etcd": " ".join(versions[0].split()[:2]),
            "faults": sum(outcome.faults.values()),
            "transactions": outcome.acknowledged,
            "in_doubt": outcome.in_doubt,
            "counted_by_compare": outcome.counted,
            "keep_alives": outcome.keep_alives,
            "reloads": outcome.reloads,
            "violations": len(outcome.violations),
            "seconds": round(time.monotonic() - began),
            "command": f"python -m tools.proof --only etcd --etcd-faults {faults} --seed {seed}",
            "faults_by_kind": dict(sorted(outcome.faults.items())),
            "each_violation": outcome.violations[:100],
        },
    )
    return _concluded(outcome.violations, f"{faults} faults", page)


def prove_decoders(inputs: int, seed: int, jobs: int) -> bool:
    """Broken input for every decoder; whether all of it was read or refused."""
    began = time.monotonic()
    outcome = fuzz.run(inputs, seed, jobs, click.echo)
    seconds = time.monotonic() - began
    page = table.append(
        "decoders",
        {
            "inputs": outcome.inputs,
            "read": outcome.read,
            "refused": outcome.refused,
            "memory_grown_mib": outcome.grown_bytes >> 20,
            "violations": len(outcome.violations),
            "processes": jobs,
            "inputs_a_second": round(outcome.inputs / seconds),
            "seconds": round(seconds),
            "seed": seed,
        },
    )
    return _concluded(outcome.violations, f"{outcome.inputs:,} inputs", page)


def prove_frames(count: int, seed: int) -> bool:
    """Hostile frames at a broker; whether it lived, within its memory, and served another."""
    with tempfile.TemporaryDirectory() as folder, running_target(Path(folder)) as target:
        began = time.monotonic()
        outcome = frames.run(target, count, seed, click.echo)
        seconds = time.monotonic() - began
    page = table.append(
        "frames",
        {
            "frames": outcome.frames,
            "connections": outcome.connections,
            "closed": outcome.closed,
            "probes": outcome.probes,
            "probe_ms_median": outcome.probe_ms_median,
            "probe_ms_p99": outcome.probe_ms_p99,
            "probe_ms_max": outcome.probe_ms_max,
            "rss_before_mib": outcome.rss_before >> 20,
            "rss_after_mib": outcome.rss_after >> 20,
            "rss_peak_mib": outcome.rss_peak >> 20,
            "log_lines": outcome.log_lines,
            "violations": len(outcome.violations),
            "seconds": round(seconds),
            "seed": seed,
        },
    )
    return _concluded(outcome.violations, f"{outcome.frames:,} frames", page)


def prove_simulation(part: str, first: int, seeds: int, jobs: int) -> bool:
    """So many simulated lives; whether nothing was violated."""
    began = time.monotonic()
    total = simulation.prove(SIMULATED[part], first, seeds, jobs, click.echo)
    seconds = time.monotonic() - began
    page = table.append(
        part,
        {
            "seeds": total.seeds,
            "first_seed": first,
            "virtual_hours": round(total.virtual_s / 3600, 2),
            "operations": total.operations,
            "faults": sum(total.faults.values()),
            "deaths": total.deaths,
            "violations": len(total.violations),
            "processes": jobs,
            "seconds": round(seconds),
            "command": f"python -m tools.proof --only {part} --first-seed {first} --seeds {seeds}",
            "faults_by_kind": dict(sorted(total.faults.items())),
            "each_violation": total.violations[:100],
        },
    )
    lines = [f"seed {seed}: {line}" for seed, line in total.violations]
    return _concluded(lines, f"{seeds:,} seeds", page)


def _concluded(violations: list[str], what: str, page: Path) -> bool:
    for complaint in violations:
        click.echo(complaint, err=True)
    click.echo(f"{len(violations)} violations in {what}: {page}")
    return not violations


def prove_power(first_seed: int, seeds: int) -> bool:
    """Power cuts on a disk in memory, in both modes; whether every promise was kept."""
    held = True
    for durable in (True, False):
        began = time.monotonic()
        outcome = power.run_many(first_seed, seeds, durable, click.echo)
        seconds = time.monotonic() - began
        page = table.append(
            "power",
            {
                "command": f"python -m tools.proof --only power --power-seeds {seeds} --power-from {first_seed}",
                "mode": power.MODES[durable],
                "seeds": f"{first_seed} to {first_seed + seeds - 1}",
                "deaths": outcome.deaths,
                "batches": outcome.batches,
                "unflushed_batches_lost": outcome.batches_lost,
                "violations": len(outcome.violations),
                "seconds": round(seconds),
                "seeds_per_s": round(seeds / seconds, 1),
                "each_violation": outcome.violations,
            },
        )
        held &= _concluded(outcome.violations, f"{seeds:,} seeds", page)
    return held


@click.command(
    help="Run the long counts; each appends to its table under docs/proof. 0 leaves one out."
)
@click.option("--kill9-cycles", default=50, show_default=True, help="Deaths under load.")
@click.option("--cycles", default=100, show_default=True, help="Faults in a cluster.")
@click.option("--etcd-members", default=1, show_default=True, help="Of that cluster.")
@click.option("--loopback", is_flag=True, help="That cluster without a network to cut.")
@click.option("--fault", "kinds", multiple=True, help="Only faults of this kind; repeatable.")
@click.option("--shape-rounds", default=5, show_default=True, help="Of each shape.")
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    type=click.Choice([shape.name for shape in SHAPES]),
    help="Only this shape of what a cluster goes through; repeatable.",
)
@click.option("--inputs", default=10_000_000, show_default=True, help="For the decoders.")
@click.option("--frames", "count", default=100_000, show_default=True, help="Hostile ones.")
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="Processes at once.")
@click.option("--seeds", default=10_000, show_default=True, help="Simulated lives.")
@click.option("--first-seed", default=0, show_default=True, help="Of the simulated lives.")
@click.option("--power-seeds", default=10_000, show_default=True, help="Lives with power cuts.")
@click.option("--power-from", default=0, show_default=True, help="The first of those seeds.")
@click.option("--copy-records", default=100_000, show_default=True, help="In transactions.")
@click.option("--copy-kills", default=10, show_default=True, help="Of broker and copiers, each.")
@click.option("--copy-flushed", is_flag=True, help="Copy with flush.messages=1.")
@click.option(
    "--copy-brokers",
    default=1,
    show_default=True,
    help="Of a cluster; each is killed and stopped in turn.",
)
@click.option(
    "--copy-client",
    "copy_clients",
    multiple=True,
    type=click.Choice(transactional_copy.CLIENTS),
    default=transactional_copy.CLIENTS,
    help="Who copies; all by default.",
)
@click.option("--streams-kills", default=10, show_default=True, help="Of the broker, each.")
@click.option("--etcd-faults", default=50, show_default=True, help="Of members of etcd.")
@click.option("--only", type=click.Choice(PARTS), help="This part alone.")
@click.option("--seed", type=int, help="Of everything random; by default a new one.")
def main(
    kill9_cycles: int,
    cycles: int,
    etcd_members: int,
    loopback: bool,
    kinds: tuple[str, ...],
    shape_rounds: int,
    shapes: tuple[str, ...],
    inputs: int,
    count: int,
    jobs: int,
    seeds: int,
    first_seed: int,
    power_seeds: int,
    power_from: int,
    copy_records: int,
    copy_kills: int,
    copy_flushed: bool,
    copy_brokers: int,
    copy_clients: tuple[str, ...],
    streams_kills: int,
    etcd_faults: int,
    only: str | None,
    seed: int | None,
) -> None:
    """Run everything; exit 1 when anything was violated."""
    chosen = seed if seed is not None else random.SystemRandom().randrange(1 << 31)
    held = True
    if inputs and only in (None, "decoders"):
        held &= prove_decoders(inputs, chosen, jobs)
    if count and only in (None, "frames"):
        held &= prove_frames(count, chosen)
    for part in SIMULATED:
        if seeds and only in (None, part):
            held &= prove_simulation(part, first_seed, seeds, jobs)
    if power_seeds and only in (None, "power"):
        held &= prove_power(power_from, power_seeds)
    if kill9_cycles and only in (None, "kill9"):
        held &= prove_kill9(kill9_cycles, chosen)
    if cycles and only in (None, "cluster-faults"):
        held &= prove_cluster_faults(
            cluster_faults.Plan(
                cycles, chosen, etcd_members=etcd_members, network=not loopback, kinds=kinds
            )
        )
    if shape_rounds and only in (None, "cluster-shapes"):
        held &= prove_cluster_shapes(shapes, shape_rounds, chosen, etcd_members)
    if copy_records and only in (None, "transactional-copy"):
        for client in copy_clients:
            held &= prove_transactional_copy(
                transactional_copy.planned(client, copy_records, copy_kills, chosen),
                copy_flushed,
                copy_brokers,
            )
    if streams_kills and only in (None, "streams"):
        for topology, protocol in streams.APPLICATIONS:
            held &= prove_streams(topology, protocol, streams_kills, chosen)
    if etcd_faults and only in (None, "etcd"):
        held &= prove_etcd(etcd_faults, chosen)
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
