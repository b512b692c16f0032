"""Ask the real Kafka everything of `tests.support.versions`, and keep what it answered.

`python -m tools.probes.every_version` starts Kafka, once for each world, and
rewrites `tests/goldens/versions/answers.json.xz`; it prints what changed.
With `--only API,API` (names, as LIST_OFFSETS) the rest of the golden is left alone.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from tests.support.versions import golden
from tests.support.versions.scenarios import SCENARIOS
from tests.support.versions.talk import NEVER, hold
from tests.support.versions.worlds import WORLDS, World
from tools.kafka.server import RealKafka
from tools.subject import free_port

from ottla.wire.apis import API

SMALL_HEAP = "-Xmx512m -Xms128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1"


def capture(world: World, only: str) -> golden.Answers:
    """Have every conversation of a world."""
    answers: golden.Answers = {world.name: {}}
    for name, key in SCENARIOS:
        info = API[key]
        if name != world.name or (only and info.name not in only.split(",")):
            continue
        began = time.monotonic()
        for version in range(info.min_version, info.max_version + 1):
            told = asyncio.run(hold(world.talk(key, version), name))
            answers[name].setdefault(info.name, {})[str(version)] = golden.plain(told)
            for one in told:
                if one.answer == NEVER or not golden.fits(one.kind, one.answer):
                    print(f"not {one.kind}: {info.name} v{version} {one.case!r}: {one.answer}")
        print(f"{name}: {info.name}, {time.monotonic() - began:.1f} s", flush=True)
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="APIs, by their names, with commas between")
    parser.add_argument("--world", default="", help="one world, by its name")
    parser.add_argument("--port", type=int, default=0, help="where Kafka shall listen")
    arguments = parser.parse_args()
    kept: golden.Answers = golden.read() if golden.FILE.exists() else {}
    for name, settings in WORLDS.items():
        if arguments.world not in ("", name):
            continue
        if not any(
            w == name and (not arguments.only or API[k].name in arguments.only.split(","))
            for w, k in SCENARIOS
        ):
            continue
        with tempfile.TemporaryDirectory() as folder:
            port = arguments.port or free_port()
            kafka = RealKafka(port, extra=settings, home=Path(folder), heap=SMALL_HEAP)
            world = World(name, kafka)
            try:
                world.begin()
                fresh = capture(world, arguments.only)
            finally:
                kafka.kill9()
        for api, versions in fresh[name].items():
            for version, cases in versions.items():
                before = kept.get(name, {}).get(api, {}).get(version, {})
                for case, (_, answer) in cases.items():
                    if case in before:
                        for path, old, new in golden.differences(before[case][1], answer):
                            row = f"{name} {api} v{version} {case!r} {path}"
                            print(f"changed: {row}: {old!r} -> {new!r}")
        kept[name] = {**kept.get(name, {}), **fresh[name]}
        golden.write(kept)
    count = sum(len(c) for w in kept.values() for a in w.values() for c in a.values())
    print(f"{count} answers in {golden.FILE.name}, {golden.FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
