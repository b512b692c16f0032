from pathlib import Path

import pytest
from tools.wiregen.__main__ import WIRE, compare, generate, read_schemas, write
from tools.wiregen.grammar import SchemaError, parse

WANTED = {Path("a.py"): "one\n", Path("records/b.py"): "two\n"}


def test_the_committed_classes_are_up_to_date() -> None:
    assert compare(generate(read_schemas(WIRE / "schema")), WIRE / "generated") == 0


def test_what_was_written_is_up_to_date(tmp_path: Path) -> None:
    assert write(WANTED, tmp_path) == 0
    assert compare(WANTED, tmp_path) == 0


@pytest.mark.parametrize("path", ["a.py", "records/b.py", "left_over.py"])
def test_a_file_that_differs_or_is_too_many_is_named(
    tmp_path: Path, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(WANTED, tmp_path)
    (tmp_path / path).write_text("edited\n")
    assert compare(WANTED, tmp_path) == 1
    assert path in capsys.readouterr().out


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(WANTED, tmp_path)
    (tmp_path / "a.py").unlink()
    assert compare(WANTED, tmp_path) == 1
    assert "a.py" in capsys.readouterr().out


def test_writing_removes_what_no_schema_makes(tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text("")
    write(WANTED, tmp_path)
    assert not (tmp_path / "old.py").exists()


def test_two_schemas_cannot_make_one_module() -> None:
    text = "api 1 FETCH\nversions 0\nflexible none\nrequest FetchRequest\n  a int32\n"
    with pytest.raises(SchemaError, match="another schema"):
        generate([parse("01_fetch", text), parse("02_fetch", text)])
