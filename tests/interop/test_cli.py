"""Each command as a process of its own, against the broker under test."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from kafka.partitioner.default import murmur2
from tests.interop.conftest import create_topic
from tools.subject import Subject, until
from tools.subject.process import Process

SOURCES = str(Path(__file__).parents[2] / "src")
SECONDS = 60


class Answer:
    """What a command left behind."""

    def __init__(self, status: int, out: bytes, err: bytes) -> None:
        self.status = status
        self.raw = out
        self.out = out.decode(errors="replace")
        self.err = err.decode(errors="replace")

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """JSON, an object a line."""
        return [json.loads(line) for line in self.out.splitlines()]


class Command:
    """`ottla` with the broker in its environment."""

    def __init__(self, brokers: str) -> None:
        self._environment = {**os.environ, "PYTHONPATH": SOURCES, "OTTLA_BROKERS": brokers}

    def start(self, *arguments: str, **how: Any) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "ottla", *arguments],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **how,
        )

    def any(self, *arguments: str, stdin: bytes = b"") -> Answer:
        """Run it, however it ends; whatever happens, it shows no stack trace."""
        with self.start(*arguments, stdin=subprocess.PIPE) as process:
            try:
                out, err = process.communicate(stdin, timeout=SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        answer = Answer(process.returncode, out, err)
        assert "Traceback" not in answer.err, answer.err
        return answer

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Answer:
        answer = self.any(*arguments, stdin=stdin)
        assert answer.status == 0, answer.err
        return answer

    def fails(self, *arguments: str, stdin: bytes = b"") -> str:
        """What it says when it fails as it should."""
        answer = self.any(*arguments, stdin=stdin)
        assert answer.status == 1, (answer.status, answer.out, answer.err)
        assert answer.err.startswith("ottla: ")
        return answer.err

    def misused(self, *arguments: str) -> str:
        answer = self.any(*arguments)
        assert answer.status == 2, (answer.status, answer.out, answer.err)
        return answer.err


@pytest.fixture
def ottla(broker: Subject) -> Command:
    return Command(broker.bootstrap)


@pytest.fixture(params=["", "1"], ids=["buffered", "unbuffered"])
def buffering(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's standard output behaves differently in the two."""
    monkeypatch.setenv("PYTHONUNBUFFERED", request.param)


@pytest.fixture
def running(ottla: Command) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Commands that go on until they are told to stop."""
    started = []

    def start(*arguments: str) -> "subprocess.Popen[bytes]":
        process = ottla.start(*arguments, stdin=subprocess.DEVNULL)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


# Topics


def test_the_life_of_a_topic(ottla: Command, name: str) -> None:
    created = ottla("topic", "create", name, "-p", "3", "-c", "retention.ms=60000")
    assert created.out.split() == [
        "TOPIC", "PARTITIONS", "REPLICAS", "RESULT", name, "3", "1", "created",
    ]  # fmt: skip
    assert name in ottla("topic", "list", "--format", "name").out.splitlines()
    (row,) = [
        row for row in ottla("topic", "list", "--format", "json").json if row["topic"] == name
    ]
    assert (row["partitions"], row["replicas"], row["internal"]) == (3, 1, False)
    (described,) = ottla("topic", "describe", name, "--format", "json").json
    assert described["topic_id"] == row["topic_id"]
    assert [each["partition"] for each in described["partitions"]] == [0, 1, 2]
    assert all(each["log_end_offset"] == 0 for each in described["partitions"])
    (retention,) = [each for each in described["configs"] if each["config"] == "retention.ms"]
    assert retention["value"] == "60000"
    assert retention["source"] == "DYNAMIC_TOPIC_CONFIG"
    ottla("topic", "config", "set", name, "retention.ms=1000", "cleanup.policy=compact")
    kept = ottla("topic", "config", "get", name, "--set-only", "--format", "json").json
    assert {each["config"]: each["value"] for each in kept} == {
        "retention.ms": "1000",
        "cleanup.policy": "compact",
    }
    ottla("topic", "config", "unset", name, "retention.ms")
    (retention,) = ottla("topic", "config", "get", name, "retention.ms", "--format", "json").json
    assert retention["value"] == "604800000"
    assert ottla("topic", "add-partitions", name, "-n", "2").out == f"{name}: 3 -> 5 partitions\n"
    assert ottla("topic", "delete", name, "--format", "name").out == f"{name}\n"
    assert name not in ottla("topic", "list", "--format", "name").out.splitlines()


def test_a_dry_run_makes_no_topic(ottla: Command, name: str) -> None:
    assert "would be created" in ottla("topic", "create", name, "--dry-run").out
    assert "UNKNOWN_TOPIC_OR_PARTITION" in ottla.fails("topic", "describe", name)


def test_if_exists_and_if_not_exists(ottla: Command, topic: str) -> None:
    assert "TOPIC_ALREADY_EXISTS" in ottla.fails("topic", "create", topic)
    assert "exists" in ottla("topic", "create", topic, "--if-not-exists").out
    ottla("topic", "delete", topic)
    assert "UNKNOWN_TOPIC_OR_PARTITION" in ottla.fails("topic", "delete", topic)
    ottla("topic", "delete", topic, "--if-exists")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("topic create no/slashes", "INVALID_TOPIC_EXCEPTION"),
        ("topic create t0 -p 0", "INVALID_PARTITIONS"),
        ("topic create t0 -r 9", "INVALID_REPLICATION_FACTOR"),
        ("topic create t0 -c retention.ms=soon", "INVALID_CONFIG"),
        ("topic describe is-not-there", "UNKNOWN_TOPIC_OR_PARTITION"),
        ("topic add-partitions is-not-there -n 1", "UNKNOWN_TOPIC_OR_PARTITION"),
        ("topic config get is-not-there", "UNKNOWN_TOPIC_OR_PARTITION"),
        ("topic config set is-not-there a=b", "UNKNOWN_TOPIC_OR_PARTITION"),
        ("consume is-not-there", "UNKNOWN_TOPIC_OR_PARTITION"),
        ("consume is-not-there -g g", "UNKNOWN_TOPIC_OR_PARTITION"),
        ("group describe is-not-there", "GROUP_ID_NOT_FOUND"),
        ("group reset is-not-there --to-latest", "GROUP_ID_NOT_FOUND"),
        ("group delete is-not-there", "GROUP_ID_NOT_FOUND"),
    ],
)
def test_a_failure_has_kafkas_name_and_says_what_next(
    ottla: Command, arguments: str, error: str
) -> None:
    said = ottla.fails(*arguments.split())
    assert said.startswith(f"ottla: {error}")
    assert said.count("\n") == 2, said


@pytest.mark.parametrize(
    "arguments",
    [
        "fly",
        "topic",
        "topic create",
        "topic create t -c nonsense",
        "topic add-partitions t",
        "consume",
        "consume t -o sideways",
        "consume t -f %z",
        "produce t -f %k%v",
        "produce t -z brotli",
        "produce t -H nonsense",
        "group reset g",
        "group reset g --to-latest --to-earliest",
        "group reset g --to-datetime soon",
        "topic list -b host:port",
        "serve --memory --data x",
        "serve --port 65536",
        "serve --topic no/slashes:1",
        "serve --topic t:0",
        "serve --set nonsense",
        "serve --config is-not-there",
    ],
)
def test_wrong_usage_is_status_two(ottla: Command, arguments: str) -> None:
    said = ottla.misused(*arguments.split())
    assert "Usage:" in said or "Commands:" in said


def test_nobody_there_is_said_with_the_address(ottla: Command) -> None:
    said = ottla.fails("topic", "list", "-b", "127.0.0.1:1")
    assert said.startswith("ottla: 127.0.0.1:1: Connection refused\n")
    assert "ottla serve" in said


@pytest.mark.parametrize("flag", ["-b", "--brokers", "--bootstrap-server"])
def test_every_spelling_of_brokers_is_taken(broker: Subject, flag: str) -> None:
    Command("127.0.0.1:1")("topic", "list", flag, broker.bootstrap)


# Records


def read_all(broker: Subject, topic: str, partitions: int = 1) -> list[Any]:
    """Every record, as librdkafka sees it."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "unused"})
    places = [TopicPartition(topic, number, 0) for number in range(partitions)]
    ends = [consumer.get_watermark_offsets(place, timeout=30)[1] for place in places]
    consumer.assign(places)
    records: list[Any] = []
    while len(records) < sum(ends):
        message = consumer.poll(30)
        assert message is not None
        assert message.error() is None
        records.append(message)
    consumer.close()
    return records


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("flags", [[], ["--idempotent"]])
def test_librdkafka_reads_what_produce_wrote(
    ottla: Command, broker: Subject, topic: str, codec: str, flags: list[str]
) -> None:
    lines = [f"value {number} {'x' * 100}" for number in range(1000)]
    answer = ottla(
        "produce", topic, "-z", codec, "-k", "car", "-H", "source:app", *flags,
        stdin="\n".join(lines).encode(),
    )  # fmt: skip
    assert answer.err.splitlines() == [
        "1000 records written",
        f"  {topic}-0: 1000, offsets 0 to 999",
    ]
    records = read_all(broker, topic)
    assert [record.value().decode() for record in records] == lines
    assert {record.key() for record in records} == {b"car"}
    assert all(record.headers() == [("source", b"app")] for record in records)


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_consume_reads_what_librdkafka_wrote(
    ottla: Command, broker: Subject, topic: str, codec: str
) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "compression.type": codec})
    for number in range(500):
        producer.produce(
            topic,
            f"v{number}" * 10,
            key=b"\xff",
            headers=[("a", b"1"), ("b", None)],
            timestamp=number,
        )
    assert producer.flush(30) == 0
    rows = ottla("consume", topic, "-o", ":end").lines
    assert [row["offset"] for row in rows] == list(range(500))
    assert [row["value"] for row in rows] == [f"v{number}" * 10 for number in range(500)]
    assert rows[7] == {
        "topic": topic,
        "partition": 0,
        "offset": 7,
        "timestamp": 7,
        "key_base64": "/w==",
        "headers": [{"key": "a", "value": "1"}, {"key": "b", "value": None}],
        "value": "v7" * 10,
    }
    shown = ottla("consume", topic, "-n", "1", "-f", "%a{compression} %k{hex} %h{%k=%v;}%H").out
    assert shown == f"{codec} ff a=1;b=;2"


def test_consume_into_produce_copies_every_record(
    ottla: Command, broker: Subject, topic: str
) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    odd = [None, b"", b"\x00\xff", b'{"topic": "x"}', "é中😀".encode(), b"line\nline"]
    for number, value in enumerate(odd):
        producer.produce(topic, value, key=odd[-number], headers=[("h", value)], timestamp=number)
    assert producer.flush(30) == 0
    copy = f"{topic}-copy"
    create_topic(broker, copy)
    ottla("produce", copy, stdin=ottla("consume", topic, "-e").raw)
    originals, copies = read_all(broker, topic), read_all(broker, copy)
    assert len(copies) == len(odd)
    for original, copied in zip(originals, copies, strict=True):
        assert copied.key() == original.key()
        assert copied.value() == original.value()
        assert copied.headers() == original.headers()
        assert copied.timestamp() == original.timestamp()


def test_keys_go_where_the_other_clients_send_them(
    ottla: Command, broker: Subject, name: str
) -> None:
    create_topic(broker, name, 7)
    keys = [f"key-{number}" for number in range(200)]
    ottla("produce", name, "-f", "%k\\n", stdin="\n".join(keys).encode())
    for record in read_all(broker, name, 7):
        assert record.partition() == (murmur2(record.key()) & 0x7FFFFFFF) % 7


def test_formats_in_and_out(ottla: Command, broker: Subject, name: str) -> None:
    create_topic(broker, name, 2)
    written = ottla(
        "produce", name, "-f", "%p %K{big16}%k %v{hex}\\n", "--same-partition", "-o", "%p:%o:%k\\n",
        stdin=b"1 \0\x03a b 6869\n0 \0\x01c 00\n",
    )  # fmt: skip
    assert written.out == "1:0:a b\n0:0:c\n"
    shown = ottla("consume", name, "-e", "-p", "1", "-f", "%t|%p|%o|%V{big32}%v|%i\\n").raw
    assert shown == f"{name}|1|0|\0\0\0\x02hi|1\n".encode()


def test_a_tombstone(ottla: Command, broker: Subject, topic: str) -> None:
    ottla("produce", topic, "-k", "car", "-Z")
    (record,) = read_all(broker, topic)
    assert (record.key(), record.value()) == (b"car", None)


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        ("start:end", range(20)),
        (":end", range(20)),
        ("5:end", range(5, 20)),
        ("5:8", range(5, 8)),
        (":3", range(3)),
        ("+18:end", range(18, 20)),
        ("-2:end", range(18, 20)),
        ("-200:end", range(20)),
        ("end:end", range(0)),
        ("@1767225600010:end", range(10, 20)),
        ("@1767225600010:1767225600012", range(10, 12)),
        ("@:1767225600002", range(2)),
        ("@2026-01-01T00:00:00.018Z:end", range(18, 20)),
        ("@2026-01-01:5ms", range(5)),
        ("@1h:end", range(0)),
    ],
)
def test_offsets(ottla: Command, twenty: str, offsets: str, expected: range) -> None:
    shown = ottla("consume", twenty, "-o", offsets, "-f", "%v\\n").out
    assert shown.split() == [str(number) for number in expected]


@pytest.fixture(scope="module")
def twenty(broker: Subject) -> str:
    """A topic of twenty records, a millisecond apart from 2026-01-01 on."""
    create_topic(broker, "twenty", 1, {"retention.ms": "-1"})  # they are long past
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for number in range(20):
        producer.produce("twenty", str(number), timestamp=1_767_225_600_000 + number)
    assert producer.flush(30) == 0
    return "twenty"


def test_filters_and_counts(ottla: Command, twenty: str) -> None:
    shown = ottla("consume", twenty, "-e", "--filter-value", "^1", "-n", "3", "-f", "%v ").out
    assert shown == "1 10 11 "
    assert ottla("consume", "twent.", "-r", "-e", "-n", "2", "-f", "%v ").out == "0 1 "


def test_consume_goes_on_until_it_is_interrupted(
    ottla: Command, topic: str, running: Callable[..., Any]
) -> None:
    reader = running("consume", topic, "-f", "%v\\n")
    for word in (b"first", b"second"):
        ottla("produce", topic, stdin=word)
        assert reader.stdout.readline() == word + b"\n"
    reader.send_signal(signal.SIGINT)
    out, err = reader.communicate(timeout=SECONDS)
    assert (reader.returncode, out, err) == (0, b"", b"")


def test_consume_and_produce_live_through_a_restart_of_the_broker(
    own_broker: Subject, name: str
) -> None:
    create_topic(own_broker, name)
    ottla = Command(own_broker.bootstrap)
    with (
        ottla.start("consume", name, "-f", "%v\\n", stdin=subprocess.DEVNULL) as reader,
        ottla.start("produce", name, "-o", "%o\\n", stdin=subprocess.PIPE) as writer,
    ):
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert reader.stdout is not None
        for offset, word in enumerate((b"before\n", b"after\n")):
            writer.stdin.write(word)
            writer.stdin.flush()
            assert writer.stdout.readline() == b"%d\n" % offset
            assert reader.stdout.readline() == word
            if not offset:
                own_broker.restart()
        assert writer.communicate(timeout=SECONDS)[1].endswith(b"offsets 0 to 1\n")
        reader.send_signal(signal.SIGINT)
        assert reader.wait(SECONDS) == 0


def test_a_reader_of_the_output_may_leave(buffering: None, ottla: Command, twenty: str) -> None:
    reader = ottla.start("consume", twenty, "-f", "%v" + "x" * 100_000 + "\\n")
    assert reader.stdout is not None
    assert reader.stderr is not None
    reader.stdout.read(10)
    reader.stdout.close()
    assert reader.stderr.read() == b""
    reader.stderr.close()
    assert reader.wait(SECONDS) == 0


def test_large_output_is_whole(buffering: None, ottla: Command, twenty: str) -> None:
    shown = ottla("consume", twenty, "-e", "-f", "%v" + "x" * 100_000).raw
    assert len(shown) == 20 * 100_000 + 10 + 2 * 10


def test_input_that_does_not_fit_is_named_and_what_came_before_is_written(
    ottla: Command, broker: Subject, topic: str
) -> None:
    said = ottla.fails("produce", topic, "-f", "json", stdin=b'{"value": "a"}\n{"speed": 1}\n')
    assert "line 2: unknown field 'speed'" in said
    assert [record.value() for record in read_all(broker, topic)] == [b"a"]


def test_a_partition_that_is_not_there(ottla: Command, topic: str) -> None:
    for said in (
        ottla.fails("produce", topic, "-p", "7", stdin=b"x"),
        ottla.fails("consume", topic, "-p", "7"),
    ):
        assert f"topic '{topic}' has no partition 7, only 0 to 0" in said


def test_a_record_too_large_is_refused_by_name(ottla: Command, topic: str) -> None:
    ottla("topic", "config", "set", topic, "max.message.bytes=1000")
    said = ottla.fails("produce", topic, stdin=b"x" * 2000)
    assert said.startswith("ottla: MESSAGE_TOO_LARGE")
    assert "max.message.bytes" in said


def test_batches_over_the_limit_are_split(ottla: Command, broker: Subject, topic: str) -> None:
    ottla("topic", "config", "set", topic, "max.message.bytes=1000")
    ottla("produce", topic, stdin=b"\n".join([b"x" * 300] * 50))
    assert len(read_all(broker, topic)) == 50


def test_aborted_transactions_are_not_shown(real_kafka: Subject, name: str) -> None:
    ottla = Command(real_kafka.bootstrap)
    create_topic(real_kafka, name)
    producer = Producer({"bootstrap.servers": real_kafka.bootstrap, "transactional.id": name})
    producer.init_transactions(30)
    for word, end in (
        ("aborted", producer.abort_transaction),
        ("committed", producer.commit_transaction),
        ("aborted again", producer.abort_transaction),
    ):
        producer.begin_transaction()
        producer.produce(name, word)
        producer.flush(30)
        end(30)
    assert ottla("consume", name, "-e", "-f", "%v\\n").out == "committed\n"
    everything = ottla("consume", name, "-e", "-f", "%v\\n", "--read-uncommitted").out
    assert everything == "aborted\ncommitted\naborted again\n"
    bits = ottla("consume", name, "-e", "-f", "%a{control-bit}", "--print-control").out
    assert bits == "1011"


# Groups


def described(ottla: Command, group: str) -> Any:
    (answer,) = ottla("group", "describe", group, "--format", "json").json
    return answer


def test_a_group_reads_on_where_it_stopped(ottla: Command, twenty: str, name: str) -> None:
    read = ottla("consume", twenty, "-g", name, "-n", "7", "-f", "%v ").out
    assert read == "0 1 2 3 4 5 6 "
    answer = described(ottla, name)
    assert (answer["state"], answer["members"], answer["total_lag"]) == ("Empty", [], 13)
    assert ottla("consume", twenty, "-g", name, "-e", "-n", "2", "-f", "%v ").out == "7 8 "
    assert ottla("consume", twenty, "-g", name, "-e", "-f", "%v ").out.startswith("9 10 ")
    assert described(ottla, name)["total_lag"] == 0
    assert ottla("consume", twenty, "-g", name, "-e").out == ""


def test_members_share_and_are_described(
    ottla: Command, broker: Subject, name: str, running: Callable[..., Any]
) -> None:
    create_topic(broker, name, 4)
    members = [running("consume", name, "-g", name, "-f", "%v\\n") for _ in range(2)]

    def shared() -> Any:
        answer = ottla.any("group", "describe", name, "--format", "json")
        if answer.status:
            return None
        (group,) = answer.json
        settled = group["state"] == "Stable"
        return group if settled and [m["partitions"] for m in group["members"]] == [2, 2] else None

    group = until("two members have two partitions each", shared, SECONDS)
    assert group["balancer"] == "range"
    assert {row["client_id"] for row in group["partitions"]} == {"ottla-cli"}
    table = ottla("group", "describe", name).out
    header, _, rows = table.partition("\n\n")
    assert [line.split()[0] for line in header.splitlines()] == [
        "GROUP", "COORDINATOR", "STATE", "BALANCER", "MEMBERS", "TOTAL-LAG",
    ]  # fmt: skip
    assert rows.splitlines()[0].split() == [
        "TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-START-OFFSET", "LOG-END-OFFSET", "LAG",
        "LAG-TIME", "RATE", "MEMBER-ID", "CLIENT-ID", "HOST",
    ]  # fmt: skip
    assert len(rows.splitlines()) == 5
    said = ottla.fails("group", "reset", name, "-t", name, "--to-earliest")
    assert said.startswith("ottla: UNKNOWN_MEMBER_ID")
    assert "NON_EMPTY_GROUP" in ottla.fails("group", "delete", name)
    for number in range(4):
        ottla("produce", name, "-p", str(number), stdin=b"one")
    for member in members:
        assert [member.stdout.readline() for _ in range(2)] == [b"one\n", b"one\n"]
        member.send_signal(signal.SIGTERM)
        assert member.communicate(timeout=SECONDS)[1] == b""
        assert member.returncode == 0
    group = described(ottla, name)
    assert group["state"] == "Empty"
    assert [row["current_offset"] for row in group["partitions"]] == [1, 1, 1, 1]
    assert [row["lag"] for row in group["partitions"]] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("goal", "offset"),
    [
        (["--to-earliest"], 0),
        (["--to-latest"], 20),
        (["--to-current"], 10),
        (["--to-offset", "5"], 5),
        (["--to-offset", "500"], 20),
        (["--shift-by", "-3"], 7),
        (["--shift-by", "+3"], 13),
        (["--shift-by", "-300"], 0),
        (["--to-datetime", "2026-01-01T00:00:00.015Z"], 15),
        (["--to-datetime", "1767225600003"], 3),
        (["--by-duration", "1ms"], 20),
    ],
)
def test_reset(ottla: Command, twenty: str, name: str, goal: list[str], offset: int) -> None:
    ottla("consume", twenty, "-g", name, "-n", "10")
    planned = ottla("group", "reset", name, *goal, "--dry-run", "--format", "json").json
    assert planned == [
        {"topic": twenty, "partition": 0, "current_offset": 10, "new_offset": offset}
    ]
    assert described(ottla, name)["partitions"][0]["current_offset"] == 10
    assert ottla("group", "reset", name, *goal, "--format", "json").json == planned
    assert described(ottla, name)["partitions"][0]["current_offset"] == offset
    ottla("group", "delete", name)


def test_reset_makes_a_group_and_the_group_goes_again(
    ottla: Command, broker: Subject, name: str
) -> None:
    create_topic(broker, name, 3)
    ottla("group", "reset", name, "-t", f"{name}:0,2", "--to-earliest")
    rows = described(ottla, name)["partitions"]
    assert [(row["partition"], row["current_offset"]) for row in rows] == [(0, 0), (2, 0)]
    assert name in ottla("group", "list", "--format", "name").out.splitlines()
    ottla("group", "offset-delete", name, "-t", f"{name}:2")
    assert [row["partition"] for row in described(ottla, name)["partitions"]] == [0]
    assert ottla("group", "delete", name, "--format", "name").out == f"{name}\n"
    assert name not in ottla("group", "list", "--format", "name").out.splitlines()


# Features


def test_levels_are_shown_lowered_and_raised(ottla: Command) -> None:
    def level(name: str) -> int:
        rows = ottla("feature", "list", "--format", "json").json
        (row,) = [row for row in rows if row["feature"] == name]
        assert row["lowest"] <= row["level"] <= row["highest"]
        return int(row["level"])

    name = "transaction.version"
    assert level(name) == 2
    lower = ("feature", "downgrade", f"{name}=1", "--format", "json")
    change = [{"feature": name, "before": 2, "level": 1}]
    assert ottla(*lower, "--dry-run").json == change
    assert level(name) == 2
    assert ottla(*lower).json == change
    assert level(name) == 1
    assert "INVALID_UPDATE_VERSION" in ottla.fails("feature", "upgrade", f"{name}=9")
    assert "there is no feature x.version" in ottla.fails("feature", "upgrade", "x.version=1")
    assert "NAME=LEVEL" in ottla.misused("feature", "upgrade", name)
    assert ottla("feature", "upgrade", f"{name}=2", "--format", "name").out == f"{name}\n"
    assert "Nothing changes." in ottla("feature", "upgrade", f"{name}=2").err


# Files


def test_the_files_of_a_running_broker_are_dumped(
    ottla: Command, broker: Subject, topic: str
) -> None:
    ottla("produce", topic, "-k", "car", "-H", "a:b", stdin=b"one\ntwo")
    assert isinstance(broker, Process)
    folder = str(broker.data / f"{topic}-0")
    entries = ottla("log", "dump", folder, "--format", "json").lines
    (batch,) = [entry for entry in entries if entry["kind"] == "batch"]
    assert (batch["base_offset"], batch["last_offset"], batch["valid"]) == (0, 1, True)
    assert "BASE-OFFSET" in ottla("log", "dump", folder).out
    dumped = ottla("log", "dump", folder, "-r").out
    assert dumped == ottla("consume", topic, "-e").out


# Getting started


@pytest.mark.parametrize(
    "command",
    [
        "serve",
        "topic",
        "topic create",
        "topic config set",
        "produce",
        "consume",
        "group",
        "group reset",
    ],
)
def test_each_command_explains_itself(ottla: Command, command: str) -> None:
    assert "Usage: ottla " + command in ottla(*command.split(), "--help").out
