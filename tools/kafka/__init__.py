"""The real Apache Kafka, for tests and benchmarks: its jars, its tools, its broker."""

from tools.kafka.cluster import KafkaNode, kafka_nodes
from tools.kafka.jars import VERSION, get, jars, java, missing
from tools.kafka.server import RealKafka
from tools.kafka.tools import ToolError, ToolResult, Tools, alone

__all__ = [
    "VERSION",
    "KafkaNode",
    "RealKafka",
    "ToolError",
    "ToolResult",
    "Tools",
    "alone",
    "get",
    "jars",
    "java",
    "kafka_nodes",
    "missing",
]
