"""(l): transactions of ten records, one after the other."""

from benchmarks.measure import Contestant, Figures, a_topic, broker_cpu, load, without

PARTITIONS = 6
RECORDS = 10
RECORD_BYTES = 100
SECONDS = 5.0
PRODUCERS = 8
MICRO = 1e6


def one_producer(subject: Contestant, number: int) -> Figures:
    """(l) One producer without a library: what the brokers take for it."""
    return _transactions(subject, f"l-{number}", "committing", 1)


def eight_producers(subject: Contestant, number: int) -> Figures:
    """(l) the same, eight beside each other."""
    return _transactions(subject, f"l8-{number}", "committing", PRODUCERS)


def librdkafka(subject: Contestant, number: int) -> Figures:
    """(l) librdkafka, which itself waits a millisecond before it adds a partition."""
    return _transactions(subject, f"l1-{number}", "transactions", 1)


def eight_librdkafka(subject: Contestant, number: int) -> Figures:
    """(l) the same, eight beside each other."""
    return _transactions(subject, f"l9-{number}", "transactions", PRODUCERS)


def _transactions(subject: Contestant, topic: str, kind: str, producers: int) -> Figures:
    a_topic(subject, topic, PARTITIONS)
    figures = broker_cpu(
        subject,
        lambda: load(
            kind,
            topic=topic,
            partitions=PARTITIONS,
            producers=producers,
            records=RECORDS,
            size=RECORD_BYTES,
            seconds=SECONDS,
            bootstrap=subject.bootstrap,
        ),
    )
    without(subject, topic)
    transactions = figures.pop("records")
    return {
        **figures,
        "transactions": transactions,
        "transactions_per_s": transactions / figures["seconds"],
        "cpu_us_per_transaction": figures["cpu_s"] * MICRO / transactions,
    }
