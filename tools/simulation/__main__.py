"""`python -m tools.simulation SEED`: live through one seed again, and say what happened."""

import sys

import click
from tools.simulation.worlds import WORLDS

from ottla.testing import broken


@click.command()
@click.argument("seed", type=int)
@click.option("--world", type=click.Choice(list(WORLDS)), default="records", show_default=True)
@click.option("--broken", "switch", help="Break the broker on purpose in this way.")
@click.option("--trace", is_flag=True, help="Show all that travelled and was logged.")
def main(seed: int, world: str, switch: str | None, trace: bool) -> None:
    """Run SEED; exit 1 when anything was violated."""
    run, lines = WORLDS[world], list[str]()
    if switch is None:
        ran = run(seed, trace=lines)
    else:
        with broken.broken(switch):
            ran = run(seed, trace=lines)
    if trace:
        for line in lines:
            click.echo(line)
    click.echo(f"{ran.shape}")
    for fault in ran.faults:
        click.echo(f"{fault.at:.3f} s: {fault.kind}")
    click.echo(f"{ran.operations} operations in {ran.virtual_s:.1f} virtual s, trace {ran.digest}")
    for violation in ran.violations:
        click.echo(violation)
    sys.exit(1 if ran.violations else 0)


if __name__ == "__main__":
    main()
