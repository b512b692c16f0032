"""`python -m tools.proof`: run the long counts and append them to the committed tables."""

import random
import sys
import tempfile
import time
from pathlib import Path

import click
from tools.proof import kill9, table
from tools.subject import Ottla


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
    restarts = sorted(cycle.restart_s for cycle in outcome.cycles)
    page = table.append(
        "kill9",
        {
            "cycles": len(outcome.cycles),
            "acknowledged": outcome.acknowledged,
            "read": outcome.read,
            "requests_in_flight": sum(cycle.requests_in_flight for cycle in outcome.cycles),
            "restart_s_median": round(restarts[len(restarts) // 2], 3),
            "violations": len(outcome.violations),
            "seconds": round(time.monotonic() - began),
            "seed": seed,
            "each": [list(cycle) for cycle in outcome.cycles],
        },
    )
    for complaint in outcome.violations:
        click.echo(complaint, err=True)
    click.echo(f"{len(outcome.violations)} violations in {len(outcome.cycles)} cycles: {page}")
    return not outcome.violations


@click.command(help="Run the long counts; each appends to its table under docs/proof.")
@click.option("--kill9-cycles", default=50, show_default=True, help="Deaths under load.")
@click.option("--seed", type=int, help="When to kill; by default a new one.")
def main(kill9_cycles: int, seed: int | None) -> None:
    """Run everything; exit 1 when anything was violated."""
    chosen = seed if seed is not None else random.SystemRandom().randrange(1 << 31)
    sys.exit(0 if prove_kill9(kill9_cycles, chosen) else 1)


if __name__ == "__main__":
    main()
