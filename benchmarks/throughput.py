"""(a)-(d): librdkafka as fast as it goes, from a process of its own."""

from benchmarks.measure import Contestant, Figures, Served, a_topic, broker_cpu, load, without

PARTITIONS = 6
PRODUCERS = 2
"""One is busy with its own work before a broker of either kind is."""

SMALL_RECORDS = 3_000_000
KILOBYTE_RECORDS = 500_000
SINGLE_RECORDS = 40_000
ONE_IN_FLIGHT_RECORDS = 10_000
MICRO = 1e6


def settings_for(subject: Served, **settings: str) -> dict[str, str]:
    return {
        "bootstrap.servers": subject.bootstrap,
        "queue.buffering.max.messages": "1000000",
        "queue.buffering.max.kbytes": "1048576",
        **{name.replace("_", "."): value for name, value in settings.items()},
    }


def rated(figures: Figures) -> Figures:
    records = figures["records"]
    return {
        **figures,
        "records_per_s": records / figures["seconds"],
        "cpu_us_per_record": figures["cpu_s"] * MICRO / records,
    }


def small_records(subject: Contestant, number: int) -> Figures:
    """(a) 100 B records of two producers, linger 5 ms, acks=1, 6 partitions."""
    topic = a_topic(subject, f"a-{number}", PARTITIONS)
    settings = settings_for(subject, linger_ms="5", acks="1")
    figures = broker_cpu(
        subject,
        lambda: load(
            "produce",
            topic=topic,
            records=SMALL_RECORDS,
            size=100,
            partitions=PARTITIONS,
            producers=PRODUCERS,
            settings=settings,
        ),
    )
    without(subject, topic)
    return rated(figures)


def kilobyte_records(subject: Contestant, number: int) -> Figures:
    """(b) 1 KB records, linger 5 ms, acks=all, 6 partitions. They stay, for (d)."""
    topic = a_topic(subject, f"b-{number}", PARTITIONS)
    settings = settings_for(subject, linger_ms="5", acks="all")
    return rated(
        broker_cpu(
            subject,
            lambda: load(
                "produce",
                topic=topic,
                records=KILOBYTE_RECORDS,
                size=1000,
                partitions=PARTITIONS,
                settings=settings,
            ),
        )
    )


def _single(subject: Contestant, topic: str, records: int, **settings: str) -> Figures:
    a_topic(subject, topic, 1)
    chosen = settings_for(subject, linger_ms="0", batch_num_messages="1", acks="1", **settings)
    figures = broker_cpu(
        subject,
        lambda: load(
            "produce", topic=topic, records=records, size=100, partitions=1, settings=chosen
        ),
    )
    without(subject, topic)
    return rated(figures)


def one_record_a_request(subject: Contestant, number: int) -> Figures:
    """(c) One 100 B record a request, acks=1, one partition."""
    return _single(subject, f"c-{number}", SINGLE_RECORDS)


def one_record_one_in_flight(subject: Contestant, number: int) -> Figures:
    """(c) the same, with one request in flight."""
    return _single(
        subject,
        f"c1-{number}",
        ONE_IN_FLIGHT_RECORDS,
        max_in_flight_requests_per_connection="1",
    )


def consume(subject: Contestant, number: int) -> Figures:
    """(d) Consume what (b) of the same round wrote."""
    topic = f"b-{number}"
    settings = {
        "bootstrap.servers": subject.bootstrap,
        "queued.max.messages.kbytes": "262144",
        "queued.min.messages": "200000",
    }
    figures = broker_cpu(
        subject,
        lambda: load(
            "consume",
            topic=topic,
            records=KILOBYTE_RECORDS,
            partitions=PARTITIONS,
            settings=settings,
        ),
    )
    without(subject, topic)
    return rated(figures)
