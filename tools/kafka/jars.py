"""Where the released Apache Kafka lies, and how it gets there.

The jars are resolved by Maven into the ignored folder `.kafka/lib` of this
checkout. The environment variable KAFKA_HOME names another folder that has
a `lib/`. Nothing here needs Kafka to be there: without a JDK, Maven or a
network `jars()` is None and whoever asked does without.
"""

import os
import shutil
import subprocess
from pathlib import Path

VERSION = "4.3.1"
# What tells a complete folder: one jar of each part that pom.xml asks for.
NEEDED = ("kafka-clients", "kafka-tools", "kafka-streams", "connect-file", "connect-mirror")

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]


def home() -> Path:
    """The folder that has, or will have, the jars in its `lib/`."""
    named = os.environ.get("KAFKA_HOME")
    return Path(named) if named else CHECKOUT / ".kafka"


def jars() -> Path | None:
    """The folder of the jars, or None when this version was not fetched."""
    lib = home() / "lib"
    present = all((lib / f"{jar}-{VERSION}.jar").exists() for jar in NEEDED)
    return lib if present else None


def missing() -> str | None:
    """Why Kafka cannot be run here, or None when it can (perhaps after `get`)."""
    absent = [program for program in ("java", "javac") if shutil.which(program) is None]
    if jars() is None and shutil.which("mvn") is None:
        absent.append("mvn")
    return f"not installed: {', '.join(absent)}" if absent else None


def get() -> Path:
    """Return the folder of the jars, fetching them first when they are absent.

    Raises:
        RuntimeError: Maven is absent or could not resolve them.
    """
    present = jars()
    if present is not None:
        return present
    lib = home() / "lib"
    try:
        done = subprocess.run(
            [
                "mvn",
                "-q",
                "-B",
                "-f",
                str(HERE / "pom.xml"),
                f"-Dkafka.version={VERSION}",
                "dependency:copy-dependencies",
                f"-DoutputDirectory={lib.resolve()}",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as problem:
        raise RuntimeError("Maven (mvn) is not installed") from problem
    if done.returncode != 0 or jars() is None:
        raise RuntimeError(f"Maven could not fetch Kafka {VERSION}:\n{done.stdout}{done.stderr}")
    return lib


def java(*arguments: str, heap: str = "-Xmx512m", level: str = "WARN") -> list[str]:
    """The command line that runs Java on Kafka's class path.

    `heap` is any number of JVM options, separated by blanks; `level` is what
    Kafka's own logging lets through to stderr.
    """
    return [
        "java",
        *heap.split(),
        "-Xshare:auto",
        f"-Dottla.level={level}",
        f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}",
        "-cp",
        f"{get()}/*",
        *arguments,
    ]
