"""What must hold of share groups, one function each.

Each yields a line for every violation, and is pure: the same history, the same lines.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from tools.simulation import checkers
from tools.simulation.history import Outcome
from tools.simulation.shares.history import Delivered, Place, Said, ShareHistory

from ottla.client.share_member import Ack

Checker = Callable[[ShareHistory], Iterator[str]]

MARGIN_S = 0.002
"""The broker counts in milliseconds."""
ELECTION_S = 5.0
"""So long an election may take; meanwhile nothing that is held is certain."""
FINAL = (Ack.ACCEPT, Ack.REJECT)


def delivered_again(history: ShareHistory) -> Iterator[str]:
    """What was accepted, rejected, or released after its last delivery, never comes again."""
    over: dict[Place, Said] = {}
    for said in history.said:
        if said.outcome is Outcome.OK and _is_the_end(history, said):
            before = over.get(said.place)
            if before is None or said.end < before.end:
                over[said.place] = said
    for delivered in history.delivered:
        done = over.get(delivered.place)
        if done is not None and done.end < delivered.start:
            yield (
                f"{_text(delivered.place)} is delivered to {delivered.holder.life} at "
                f"{delivered.end:.3f} s, {done.ack.name} of {done.holder.life} was answered at "
                f"{done.end:.3f} s"
            )


def _is_the_end(history: ShareHistory, said: Said) -> bool:
    if said.ack is Ack.RELEASE:
        return _count_of(history, said) >= history.limit
    return said.ack in FINAL


def _count_of(history: ShareHistory, said: Said) -> int:
    """At which delivery of the record this was said."""
    return max(
        (
            each.times
            for each in history.delivered
            if each.place == said.place
            and each.holder.life == said.holder.life
            and each.end <= said.start
        ),
        default=0,
    )


def two_holders(history: ShareHistory) -> Iterator[str]:
    """Nobody is given a record that another, or it itself, holds."""
    places = _by_place(history)
    for one, until in _holds(history):
        for other in places[one.place]:
            if (
                other is not one
                and one.end < other.start
                and other.end < until
                and not _elected(history, one.start, other.end)
            ):
                yield (
                    f"{_text(one.place)} is {one.holder.life}'s from {one.end:.3f} s, for sure "
                    f"until {until:.3f} s, and is delivered to {other.holder.life} at "
                    f"{other.start:.3f} s"
                )


def _holds(history: ShareHistory) -> Iterator[tuple[Delivered, float]]:
    """Each delivery, and until when the record was its holder's for certain."""
    last_alive: dict[object, float] = {}
    for alive in history.alive:
        last_alive[alive.holder] = max(alive.start, last_alive.get(alive.holder, 0.0))
    said = _said_by_place(history)
    for one in history.delivered:
        until = _lock_end(history, said.get(one.place, ()), one)
        yield one, min(until, last_alive.get(one.holder, 0.0))


def _lock_end(history: ShareHistory, words: Sequence[Said], delivered: Delivered) -> float:
    """Until when a record is held at least, if its holder's session lasts."""
    end = delivered.start + history.lock_s - MARGIN_S
    for said in words:  # in the order of their answers
        if said.holder != delivered.holder or said.start < delivered.end:
            continue
        if said.ack is not Ack.RENEW:
            return min(end, said.start)
        if said.outcome is Outcome.OK and said.start < end:
            end = max(end, said.start + history.lock_s - MARGIN_S)
    return end


def strangers(history: ShareHistory) -> Iterator[str]:
    """Nobody's word counts for a record that another holds.

    (For one that is over anybody's is answered well, and changes nothing, as in Kafka.)
    """
    words = _said_by_place(history)
    for one, until in _holds(history):
        for said in words.get(one.place, ()):
            if (
                said.outcome is Outcome.OK
                and said.holder.life != one.holder.life
                and one.end < said.start
                and said.end < until
                and not _elected(history, one.start, said.end)
            ):
                yield (
                    f"{said.ack.name} of {said.holder.life} counts for {_text(said.place)} at "
                    f"{said.end:.3f} s, which is {one.holder.life}'s since {one.end:.3f} s, "
                    f"for sure until {until:.3f} s"
                )


def delivery_counts(history: ShareHistory) -> Iterator[str]:
    """They rise with every delivery, beyond those stored even through restarts, up to the limit."""
    for place, mine in _by_place(history).items():
        for one in mine:
            if one.times > history.limit:
                yield f"{_text(place)} is delivered {one.times} times, the limit is {history.limit}"
            for other in mine:
                if (
                    one.end < other.start
                    and other.times <= one.times
                    and one.broker == other.broker != 0
                    and not _elected(history, one.start, other.end)
                ):
                    yield (
                        f"{_text(place)}: delivery {one.times} at {one.end:.3f} s, "
                        f"delivery {other.times} at {other.end:.3f} s"
                    )
    for said in history.said:
        if said.outcome is Outcome.OK and said.ack is Ack.RELEASE:
            count = _count_of(history, said)
            for each in history.delivered:
                if each.place == said.place and said.end < each.start and each.times <= count:
                    yield (
                        f"{_text(said.place)}: released after delivery {count} at "
                        f"{said.end:.3f} s, delivery {each.times} at {each.end:.3f} s"
                    )


def undelivered(history: ShareHistory) -> Iterator[str]:
    """Every record whose producer was told that it is there is delivered, as it was produced."""
    places = _by_place(history)
    for place, value in _produced(history):
        mine = places.get(place)
        if mine is None:
            if not _may_be_given_up(history, ()):
                yield f"{_text(place)}, {value!r}, was never delivered"
        elif any(each.value != value for each in mine):
            yield f"{_text(place)} is delivered as {mine[0].value!r}, produced was {value!r}"


def forgotten(history: ShareHistory) -> Iterator[str]:
    """What is free again is delivered again, until it is accepted, rejected or given up."""
    places = _by_place(history)
    over = {
        said.place
        for said in history.said
        if said.ack in FINAL and said.outcome is not Outcome.FAIL
    }
    for place, value in _produced(history):
        mine = places.get(place, [])
        if mine and place not in over and not _may_be_given_up(history, mine):
            last = max(mine, key=lambda each: each.end)
            yield (
                f"{_text(place)}, {value!r}, was last delivered to {last.holder.life} at "
                f"{last.end:.3f} s, delivery {last.times}, and never again"
            )


def _may_be_given_up(history: ShareHistory, mine: "list[Delivered] | tuple[()]") -> bool:
    """Whether it may have been delivered as often as allowed, with answers that were lost."""
    seen = max((each.times for each in mine), default=0)
    unheard = len(history.unheard)
    return seen + unheard >= history.limit


def _produced(history: ShareHistory) -> Iterator[tuple[Place, bytes]]:
    for each in history.produced:
        if each.outcome is Outcome.OK and each.base_offset >= 0:
            for index, value in enumerate(each.values):
                yield (each.partition, each.base_offset + index), value


def _by_place(history: ShareHistory) -> dict[Place, list[Delivered]]:
    found: dict[Place, list[Delivered]] = defaultdict(list)
    for delivered in history.delivered:
        found[delivered.place].append(delivered)
    return dict(found)


def _said_by_place(history: ShareHistory) -> dict[Place, list[Said]]:
    found: dict[Place, list[Said]] = defaultdict(list)
    for said in history.said:
        found[said.place].append(said)
    return dict(found)


def _elected(history: ShareHistory, start: float, end: float) -> bool:
    return any(start - ELECTION_S <= at <= end for at in history.elections)


def _text(place: Place) -> str:
    return f"{place[0]}@{place[1]}"


CHECKERS: dict[str, Checker] = {
    checker.__name__: checker
    for checker in (
        delivered_again,
        two_holders,
        strangers,
        delivery_counts,
        undelivered,
        forgotten,
        checkers.flushed,
        checkers.liveness,
        checkers.unexpected,
    )
}

violations = partial(checkers.violations, checkers=CHECKERS)
