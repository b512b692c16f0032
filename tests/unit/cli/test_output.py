"""Tables, blocks and JSON."""

import json

import pytest

from ottla.cli.output import block, cell, echo_rows, table, title

ROWS = [
    {"topic": "rides", "partitions": 3, "replicas": [1, 2], "lag": None},
    {"topic": "a", "partitions": 12, "replicas": [], "lag": 7},
]


def test_numbers_are_flush_right_and_words_flush_left() -> None:
    assert table(ROWS, ("topic", "partitions", "replicas", "lag")) == [
        "TOPIC  PARTITIONS  REPLICAS  LAG",
        "rides           3  1,2         -",
        "a              12  -           7",
    ]


def test_a_table_without_rows_is_its_titles() -> None:
    assert table([], ("log_end_offset",)) == ["LOG-END-OFFSET"]


def test_no_line_ends_in_blanks() -> None:
    assert table([{"a": "x", "b": ""}, {"a": "y", "b": "long"}], ("a", "b"))[1] == "x  -"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), ("", "-"), (0, "0"), (True, "yes"), (False, "no"), ([1, None], "1,-")],
)
def test_cells(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_a_block_is_aligned() -> None:
    assert block({"group": "g", "total_lag": 3}) == ["GROUP      g", "TOTAL-LAG  3"]
    assert title("log_end_offset") == "LOG-END-OFFSET"


def test_rows_as_json_keep_their_keys(capsys: pytest.CaptureFixture[str]) -> None:
    echo_rows(ROWS, ("topic",), "json", name="topic", empty="none")
    assert json.loads(capsys.readouterr().out) == ROWS


def test_rows_as_names_are_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    echo_rows(ROWS, ("topic",), "name", name="topic", empty="none")
    assert capsys.readouterr().out == "rides\na\n"


def test_no_rows_are_said_on_stderr_alone(capsys: pytest.CaptureFixture[str]) -> None:
    echo_rows([], ("topic",), "table", name="topic", empty="There are none.")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "There are none.\n"


def test_no_rows_as_json_are_an_empty_list(capsys: pytest.CaptureFixture[str]) -> None:
    echo_rows([], ("topic",), "json", name="topic", empty="There are none.")
    assert capsys.readouterr().out == "[]\n"
