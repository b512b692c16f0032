"""What `ottla` itself does: only find the command."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from ottla.cli.main import COMMANDS, cli


def test_help_imports_nothing_but_click() -> None:
    """So that it is there at once."""
    program = (
        "import sys; sys.argv = ['ottla', '--help']\n"
        "from ottla.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted(m for m in sys.modules if m.startswith('ottla') or m == 'asyncio'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "['ottla', 'ottla.cli', 'ottla.cli.main']"


@pytest.mark.parametrize("name", list(COMMANDS))
def test_each_command_of_the_table_is_there(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.help


def test_help_names_every_command() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).output
    assert all(f"  {name} " in shown for name in COMMANDS)


def test_a_command_that_is_nearly_right_is_suggested() -> None:
    answer = CliRunner().invoke(cli, ["topics", "list"])
    assert answer.exit_code == 2
    assert "Did you mean `topic`?" in answer.output
