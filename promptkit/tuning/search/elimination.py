"""Backward elimination: changes of a candidate that bring nothing are taken back. It has no input or output."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

from promptkit.tuning.search.contributions import Contributions

WORTH: Final = 0.01
"""A change stays if it is expected to bring a point: less does not pay for a longer prompt."""
IN_QUESTION: Final = 0.1
"""A change is tested if the probability that it brings less than that is at least this."""
LEAST_PAIRS: Final = 20
"""No change is taken back on fewer rows."""
GROUP_LOSS: Final = 0.03
"""Changes are tested together as long as their expected contributions sum to at most this."""


class Elimination:
    """Backward elimination of a candidate's changes (Efroymson 1960), several at a time.

    The changes that are expected to bring least are taken back together (group testing: Dorfman 1943, Ann. Math.
    Statist. 14:436). If the candidate without them is expected to lose less than a point, they stay out; if not, a
    smaller group is tested, and a single change that fails is kept. Ask and tell, as in a race: `ask` names the changes
    to take back, besides those `taken_back`, and `tell` takes the candidate's lead over the one without them.
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

    def tell(self, group: Sequence[str], lead: float, variance: float, pairs: int, *, is_shorter: bool = True) -> bool:
        """Take the lead of the candidate over the one without a group, on so many rows; return whether it stays out.

        It does not if the candidate without it is not shorter: then it costs more and brings nothing.
        """
        self.contributions = self.contributions.observe(group, lead, variance)
        if is_shorter and pairs >= LEAST_PAIRS and self.contributions.of(group)[0] < WORTH:
            self.taken_back += group
            self._open = [name for name in self._open if name not in group]
            self._most = len(self._open)
            return True
        if len(group) == 1:
            self._open.remove(group[0])
        self._most = max(1, len(group) // 2)
        return False

    def _is_in_question(self, name: str) -> bool:
        mean, error = self.contributions.of([name])
        return NormalDist(mean, max(error, 1e-9)).cdf(WORTH) >= IN_QUESTION
