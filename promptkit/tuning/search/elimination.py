"""Backward elimination: changes of a candidate that bring nothing are taken back. It has no input or output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from promptkit.tuning.search.contributions import Contributions

WORTH: Final = 0.01
"""A change stays if it is expected to bring a point: less does not pay for a longer prompt."""
IN_QUESTION: Final = 0.1
"""A change is tested if the probability that it brings less than that is at least this."""
LEAST_PAIRS: Final = 20
"""No change is taken back on fewer rows."""
CLEAR_LOSS: Final = 0.05
"""A group that is expected to bring this much after few rows is not compared on more."""
GROUP_LOSS: Final = 0.06
"""Changes are tested together as long as their expected contributions sum to at most this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WithoutGroup:
    """A candidate compared with itself, a group of changes taken back, on `pairs` rows.

    `lead` of the candidate with them, and the `variance` of its error. `is_same`: all answers are the same.
    `is_shorter`: it takes no more tokens without them. `is_preferred`: the person prefers it without them for that.
    """

    lead: float
    variance: float
    pairs: int
    is_same: bool = False
    is_shorter: bool = True
    is_preferred: bool = False


class Elimination:
    """Backward elimination of a candidate's changes (Efroymson 1960), several at a time.

    The changes that are expected to bring least are taken back together (group testing: Dorfman 1943, Ann. Math.
    Statist. 14:436). They stay out if the candidate without them takes no more tokens and either is expected to lose
    less than a point (5 points, where a person prefers it for its tokens) or gives the same answers: on 40 rows one
    change in eight that alters 5 % of answers does so, and one in 70 that alters 10 %. Otherwise a smaller group is
    tested; a single change that fails is kept. Ask and tell, as in a race: `ask` names the changes to take back,
    besides those `taken_back`.
    """

    def __init__(self, contributions: Contributions, removable: Sequence[str]) -> None:
        """Begin with what is known of the contributions. Only `removable` changes may be taken back."""
        self.contributions = contributions
        self.taken_back: list[str] = []
        self._open = [name for name in contributions.names if name in removable]
        self._most = len(self._open)

    def ask(self) -> tuple[str, ...]:
        """Return the changes to take back next, those that bring least first; empty at the end."""
        means = {name: self.contributions.of([name])[0] for name in self._open}
        group: list[str] = []
        for name in sorted(filter(self._is_in_question, self._open), key=lambda name: means[name]):
            if group and (len(group) == self._most or self.contributions.of([*group, name])[0] > GROUP_LOSS):
                break
            group.append(name)
        return tuple(group)

    def tell(self, group: Sequence[str], without: WithoutGroup) -> bool:
        """Take the comparison with the candidate without a group; return whether the group stays out."""
        self.contributions = self.contributions.observe(group, without.lead, without.variance)
        limit = CLEAR_LOSS if without.is_preferred else WORTH
        brings_little = without.is_same or self.contributions.of(group)[0] < limit
        if brings_little and without.is_shorter and without.pairs >= LEAST_PAIRS:
            self.taken_back += group
            self._open = [name for name in self._open if name not in group]
            self._most = len(self._open)
            return True
        if len(group) == 1:
            self._open.remove(group[0])
        self._most = max(1, len(group) // 2)
        return False

    def is_needed(self, group: Sequence[str], without: WithoutGroup) -> bool:
        """Tell whether a comparison on few rows shows already that the group brings something."""
        return self.contributions.observe(group, without.lead, without.variance).of(group)[0] >= CLEAR_LOSS

    def _is_in_question(self, name: str) -> bool:
        mean, error = self.contributions.of([name])
        return NormalDist(mean, max(error, 1e-9)).cdf(WORTH) >= IN_QUESTION
