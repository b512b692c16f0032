"""Which topics the expressions of one group match, worked out a slice at a time.

What an expression matched is remembered in the log. So only an expression that
is new looks at every topic; the others look at the topics that changed since.
Nothing here is replicated, and what is worked out counts when it is written.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping

from ottla.coordinator.group.regexes import Automaton, compiled
from ottla.model.errors import ApiError

SLICE_COST = 5_000
"""Of one slice, in characters looked up: one to two milliseconds."""

DONE_NAMES = 2_000
"""So many names matched are written before the next expression is looked at."""


class Matching:
    """Expressions with the names each has yet to look at."""

    def __init__(self) -> None:
        self._written: dict[str, frozenset[str]] = {}
        self._pending: dict[str, dict[str, None]] = {}
        self._verdicts: dict[str, dict[str, bool]] = {}
        self._done: dict[str, list[str]] = {}
        self._changed: dict[str, None] = {}
        self._knows_topics = False
        """Every change of topics since the expressions were first looked at was told."""
        self._walk: Iterator[int] | None = None
        self._topics: Collection[str] = ()

    # What is known

    @property
    def written(self) -> Mapping[str, frozenset[str]]:
        """What each expression matches, by the log."""
        return self._written

    def write(self, regex: str, topics: Iterable[str] | None) -> None:
        """What an expression matches was written; None: nobody uses it any more."""
        self._forget(regex)
        if topics is None:
            self._written.pop(regex, None)
        else:
            self._written[regex] = frozenset(topics)

    def topics_changed(self, names: Iterable[str]) -> None:
        """These were made, deleted, or changed in another way."""
        self._changed.update(dict.fromkeys(sorted(names)))

    # Finding out

    def begin(self, used: Collection[str], topics: Collection[str]) -> None:
        """Note what there is to look at, for the expressions of the members.

        `topics` are the names of all there are.
        """
        self._topics = topics
        for regex in [regex for regex in self._pending if regex not in used]:
            self._forget(regex)
        changed, self._changed = self._changed, {}
        knew, self._knows_topics = self._knows_topics, True
        for regex in used:
            if regex not in self._pending:
                if regex not in self._written or not knew:
                    changed_for_it = dict.fromkeys((*self._written.get(regex, ()), *topics))
                else:
                    changed_for_it = dict(changed)
                if changed_for_it or regex not in self._written:
                    self._pending[regex] = changed_for_it
                    self._verdicts[regex] = {}
            elif changed:
                self._pending[regex].update(changed)
                self._done.pop(regex, None)

    def work(self) -> bool:
        """Do one slice; whether that was the last."""
        if self._walk is None:
            self._walk = self._steps()
        cost = 0
        for step in self._walk:
            cost += step
            if cost >= SLICE_COST:
                return False
        self._walk = None
        return True

    def done(self) -> Mapping[str, list[str]]:
        """What is to be written: sorted names of expressions that match others than before."""
        return dict(self._done)

    def _steps(self) -> Iterator[int]:
        """Look at all names; what each step cost. Names may be added meanwhile."""
        while regex := self._next():
            automaton = _automaton(regex)
            while names := self._pending.get(regex):
                name, _ = names.popitem()
                matches = automaton is not None and (yield from automaton.walk(name))
                verdicts = self._verdicts.get(regex)
                if verdicts is not None:
                    verdicts[name] = matches
                yield len(name)
            if regex in self._pending:
                self._decide(regex)
                if sum(map(len, self._done.values())) >= DONE_NAMES:
                    yield SLICE_COST

    def _next(self) -> str | None:
        return next((regex for regex in self._pending if regex not in self._done), None)

    def _decide(self, regex: str) -> None:
        """Every name was looked at."""
        before = self._written.get(regex)
        after = set(before or ())
        for name, matches in self._verdicts[regex].items():
            if matches and name in self._topics:
                after.add(name)
            else:
                after.discard(name)
        if before is not None and not before ^ after:
            self._forget(regex)
        else:
            self._done[regex] = sorted(after)

    def _forget(self, regex: str) -> None:
        self._pending.pop(regex, None)
        self._verdicts.pop(regex, None)
        self._done.pop(regex, None)


def _automaton(regex: str) -> Automaton | None:
    """None: it is not valid, and matches nothing."""
    try:
        return compiled(regex)
    except ApiError:
        return None
