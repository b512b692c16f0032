"""The goldens of the wire layer: messages made by Kafka's own classes, kept in one file.

    python -m tests.interop.wire_goldens      # make them anew (needs Java and Kafka's jars)

The file is xz of entries, one for each message:

    name     int8 length, then ASCII
    version  int8
    data     int16 length, then the encoded message
    digest   the first 8 bytes of the SHA-256 of its description (tests.messages.describe)
"""

import hashlib
import lzma
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).parents[1] / "goldens" / "wire" / "messages.xz"
VALUES = 5


class Golden(NamedTuple):
    name: str
    version: int
    data: bytes
    digest: bytes


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:8]


def read() -> Iterator[Golden]:
    content = lzma.decompress(FILE.read_bytes())
    position = 0
    while position < len(content):
        end = position + 1 + content[position]
        name = content[position + 1 : end].decode()
        version, length = struct.unpack_from(">bH", content, end)
        position = end + 3 + length
        yield Golden(name, version, content[end + 3 : position], content[position : position + 8])
        position += 8


def pack(golden: Golden) -> bytes:
    name = golden.name.encode()
    head = struct.pack(">b", len(name)) + name
    return head + struct.pack(">bH", golden.version, len(golden.data)) + golden.data + golden.digest


def make() -> None:
    from tests.interop.wire_oracle import WireOracle
    from tests.messages import all_versions

    content = bytearray()
    with WireOracle() as oracle:
        for cls, version in all_versions():
            for seed in range(VALUES):
                answer = oracle.generate(cls.__name__, version, seed, small=True)
                text = known(cls.__name__, answer.text)
                content += pack(Golden(cls.__name__, version, answer.data, digest(text)))
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_bytes(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))
    print(f"{FILE.name}: {len(content)} bytes, {FILE.stat().st_size} compressed")


def known(name: str, text: str) -> str:
    """`text` without the one field that Kafka's class has and none of its versions carries."""
    return text.replace("partitionmaxbytes=0 ", "") if name == "ShareFetchRequest" else text


if __name__ == "__main__":
    make()
