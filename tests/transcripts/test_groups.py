"""Transcripts of classic groups: what each command leads to, in `group/*.txt`.

Lines that begin with `>` are commands of `tests.support.group_world`; the
indented lines below are what must follow. `OTTLA_WRITE_TRANSCRIPTS=1` writes
what did follow, to be read before it is committed.
"""

import os
from pathlib import Path

import pytest
from tests.support.group_world import GroupWorld

FOLDER = Path(__file__).parent / "group"


def play(script: str) -> str:
    """Return the script with what follows now."""
    world = GroupWorld()
    lines = []
    for line in script.splitlines():
        if line.startswith("    "):
            continue
        lines.append(line)
        if line.startswith("> "):
            lines += [f"    {text}" for text in world.run(line[2:])]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_group_follows_its_transcript(path: Path) -> None:
    script = path.read_text()
    played = play(script)
    if os.environ.get("OTTLA_WRITE_TRANSCRIPTS"):
        path.write_text(played)
    assert played == script


def test_there_are_transcripts() -> None:
    assert list(FOLDER.glob("*.txt"))
