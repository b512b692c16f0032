"""DescribeConfigs, AlterConfigs, IncrementalAlterConfigs, ListConfigResources."""

from typing import Any

from tests.support.versions.talk import Talk, scenario

TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3


def named(kind: int, name: str) -> dict[str, Any]:
    return {"resource_type": kind, "resource_name": name}


@scenario(32)
async def describe_configs(talk: Talk) -> None:
    topic = await talk.topic("t", segment_bytes="2097152")

    def some(*resources: tuple[int, str, list[str] | None], **rest: Any) -> dict[str, Any]:
        return {
            "resources": [
                {**named(kind, name), "configuration_keys": keys} for kind, name, keys in resources
            ],
            **rest,
        }

    keys = ["segment.bytes", "retention.ms"]
    for case, rest in {
        "plain": {},
        "synonyms": {"include_synonyms": True},
    }.items():
        await talk.good(f"topic, {case}", **some((TOPIC, topic, keys), **rest))
        await talk.good(f"broker, {case}", **some((BROKER, "1", ["log.segment.bytes"]), **rest))
        await talk.good(f"all brokers, {case}", **some((BROKER, "", ["log.segment.bytes"]), **rest))
    await talk.good("no keys", **some((TOPIC, topic, [])))
    await talk.good("an unknown key", **some((TOPIC, topic, ["no.such", "retention.ms"])))
    await talk.good("a key twice", **some((TOPIC, topic, ["retention.ms", "retention.ms"])))
    await talk.bad("unknown topic", **some((TOPIC, talk.name("unknown"), keys)))
    await talk.bad("illegal topic", **some((TOPIC, "a/b", keys)))
    await talk.bad("empty topic", **some((TOPIC, "", keys)))
    await talk.bad("another broker", **some((BROKER, "7", keys)))
    await talk.bad("no broker id", **some((BROKER, "one", keys)))
    await talk.bad("loggers of another broker", **some((LOGGER, "7", keys)))
    await talk.bad("loggers of no broker", **some((LOGGER, "", keys)))
    for kind in 0, 1, 3, 64, -1:
        await talk.bad(f"resource type {kind}", **some((kind, "x", keys)))
    group = some((GROUP, talk.name("g"), ["consumer.session.timeout.ms"]), include_synonyms=True)
    await talk.good("a group", **group)
    await talk.ask("an empty group", **some((GROUP, "", None)))
    await talk.ask("client metrics", **some((METRICS, talk.name("m"), None)))
    await talk.ask("empty client metrics", **some((METRICS, "", None)))
    await talk.ask(
        "good and bad", **some((TOPIC, talk.name("unknown"), keys), (TOPIC, topic, keys))
    )
    await talk.ask("a resource twice", **some((TOPIC, topic, keys[:1]), (TOPIC, topic, keys[1:])))
    await talk.good("no resources", **some())


@scenario(33)
async def alter_configs(talk: Talk) -> None:
    topic = await talk.topic("t")
    other = await talk.topic("other")

    def some(*resources: tuple[int, str, dict[str, str | None]], **rest: Any) -> dict[str, Any]:
        return {
            "resources": [
                {
                    **named(kind, name),
                    "configs": [{"name": key, "value": value} for key, value in configs.items()],
                }
                for kind, name, configs in resources
            ],
            **rest,
        }

    await talk.good("set", **some((TOPIC, topic, {"retention.ms": "1000000000"})))
    await talk.good("tried", **some((TOPIC, topic, {"retention.ms": "2000"}), validate_only=True))
    await talk.good("nothing", **some((TOPIC, topic, {})))
    await _wrong_settings(talk, topic, lambda *row, **rest: some(row, **rest))
    await talk.ask(
        "good and bad",
        **some(
            (TOPIC, topic, {"retention.ms": "x"}),
            (TOPIC, other, {"segment.ms": "100000"}),
            (TOPIC, talk.name("unknown"), {}),
        ),
    )
    row = (TOPIC, topic, {"retention.ms": "5000"})
    await talk.bad("a resource twice", patience_s=3, **some(row, row))  # Kafka has no answer
    twice = {
        **named(TOPIC, topic),
        "configs": [{"name": "retention.ms", "value": v} for v in ("1", "2")],
    }
    await talk.ask("a setting twice", resources=[twice])
    await talk.good("no resources", **some())


async def _wrong_settings(talk: Talk, topic: str, some: Any) -> None:
    """What both ways to alter refuse."""
    for case, configs in {
        "unknown setting": {"no.such": "1"},
        "empty setting": {"": "1"},
        "not a number": {"retention.ms": "soon"},
        "out of range": {"retention.ms": "-2"},
        "not one of": {"cleanup.policy": "forget"},
        "not a boolean": {"preallocate": "yes"},
        "null": {"retention.ms": None},
    }.items():
        await talk.bad(case, **some(TOPIC, topic, configs))
        await talk.bad(f"{case}, tried", **some(TOPIC, topic, configs, validate_only=True))
    good = {"retention.ms": "1000"}
    await talk.bad("unknown topic", **some(TOPIC, talk.name("unknown"), good))
    await talk.bad("illegal topic", **some(TOPIC, "a/b", good))
    await talk.bad("empty topic", **some(TOPIC, "", good))
    await talk.bad("another broker", **some(BROKER, "7", {"log.retention.ms": "1"}))
    await talk.bad("no broker id", **some(BROKER, "one", {"log.retention.ms": "1"}))
    await talk.bad("a setting of the broker's start", **some(BROKER, "1", {"node.id": "5"}))
    await talk.bad("a setting per broker for all", **some(BROKER, "", {"listeners": "X://:1"}))
    await talk.bad("an unknown group setting", **some(GROUP, talk.name("g"), {"no.such": "1"}))
    await talk.bad("an empty group", **some(GROUP, "", {"consumer.session.timeout.ms": "46000"}))
    await talk.bad("a metrics setting", **some(METRICS, talk.name("m"), {"no.such": "1"}))
    for kind in 0, 1, 3, 64, -1:
        await talk.bad(f"resource type {kind}", **some(kind, "x", good))


@scenario(44)
async def incremental_alter_configs(talk: Talk) -> None:
    topic = await talk.topic("t")
    other = await talk.topic("other")

    def one(kind: int, name: str, *changes: tuple[str, int, str | None]) -> dict[str, Any]:
        return {
            **named(kind, name),
            "configs": [
                {"name": key, "config_operation": how, "value": value}
                for key, how, value in changes
            ],
        }

    async def alter(
        case: str, kind: str, *changes: tuple[str, int, str | None], **rest: Any
    ) -> None:
        await talk.ask(case, kind, resources=[one(TOPIC, topic, *changes)], **rest)

    await alter("set", "good", ("retention.ms", SET, "1000000000"))
    await alter("tried", "good", ("retention.ms", SET, "5000"), validate_only=True)
    await alter("delete", "good", ("retention.ms", DELETE, None))
    await alter("delete what is not set", "good", ("segment.ms", DELETE, None))
    await alter("delete with a value", "good", ("segment.ms", DELETE, "4"))
    await alter("append", "good", ("cleanup.policy", APPEND, "compact"))
    await alter("append again", "good", ("cleanup.policy", APPEND, "compact"))
    await alter("subtract", "good", ("cleanup.policy", SUBTRACT, "compact"))
    await alter("subtract what is not there", "good", ("cleanup.policy", SUBTRACT, "compact"))
    await alter("nothing", "good")
    await alter("append to a number", "bad", ("retention.ms", APPEND, "1"))
    await alter("subtract from a number", "bad", ("retention.ms", SUBTRACT, "1"))
    await alter("append a null", "bad", ("cleanup.policy", APPEND, None))
    await alter("append what is no policy", "bad", ("cleanup.policy", APPEND, "forget"))
    await alter("operation 4", "bad", ("retention.ms", 4, "1"))
    await alter("operation -1", "bad", ("retention.ms", -1, "1"))
    await alter(
        "a setting twice", "bad", ("retention.ms", SET, "1000"), ("retention.ms", DELETE, None)
    )
    await alter("delete the unknown", "", ("no.such", DELETE, None))
    await _wrong_settings(
        talk,
        topic,
        lambda kind, name, configs, **rest: {
            "resources": [one(kind, name, *((key, SET, value) for key, value in configs.items()))],
            **rest,
        },
    )
    good = ("retention.ms", SET, "2000")
    await talk.ask(
        "good and bad",
        resources=[
            one(TOPIC, topic, ("retention.ms", SET, "x")),
            one(TOPIC, other, good),
            one(TOPIC, talk.name("unknown"), good),
        ],
    )
    await talk.bad("a resource twice", resources=[one(TOPIC, topic, good), one(TOPIC, topic, good)])
    await talk.good("no resources", resources=[])
    level = ("kafka.server", SET, "TRACY")
    await talk.bad("loggers: an unknown level", resources=[one(LOGGER, "1", level)])
    level = ("root", SET, "INFO")
    await talk.bad("loggers of another broker", resources=[one(LOGGER, "7", level)])


@scenario(74)
async def list_config_resources(talk: Talk) -> None:
    topic = await talk.topic("t")
    group, metrics = talk.name("g"), talk.name("m")
    for kind, name, key, value in (
        (GROUP, group, "consumer.session.timeout.ms", "46000"),
        (METRICS, metrics, "interval.ms", "1000"),
    ):
        config = {"name": key, "config_operation": SET, "value": value}
        answer = await talk.tell(44, 1, resources=[{**named(kind, name), "configs": [config]}])
        assert answer.responses[0].error_code == 0, answer
    assert topic
    await talk.good("client metrics or all", own=True, resource_types=[])
    if talk.version >= 1:
        for kind in TOPIC, BROKER, LOGGER, METRICS, GROUP:
            await talk.good(f"type {kind}", own=True, resource_types=[kind])
        await talk.good("two types", own=True, resource_types=[TOPIC, GROUP])
        await talk.good("a type twice", own=True, resource_types=[GROUP, GROUP])
        for kind in 0, 1, 3, 64, -1:
            await talk.bad(f"type {kind}", own=True, resource_types=[kind])
        await talk.bad("known and unknown", own=True, resource_types=[TOPIC, 3])
