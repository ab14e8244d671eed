"""The parts of a run that others look at: how it is made, its variants at work, and how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from promptkit.evaluation.scoring import Scores

if TYPE_CHECKING:
    from promptkit.answers import AnswerType
    from promptkit.engine import Fallback, Runner
    from promptkit.evaluation.saving import Planned
    from promptkit.evaluation.suite import Variant
    from promptkit.evaluation.tally import Tally
    from promptkit.storage import KeptCell


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run a suite. `in_flight` is how many requests at once (None: what the model says is worth while).

    `exact` asks one at a time, since answers made in a batch can differ. `fresh` asks anew what is known,
    `retry_errors` what failed.
    """

    in_flight: int | None = None
    exact: bool = False
    fresh: bool = False
    retry_errors: bool = False
    strict: bool = False


@dataclass(slots=True)
class Contender:
    """A variant at work: what runs it, what tells its cells from others, and what they say so far.

    `again` counts the variants before it that are the same but for the name: it is asked anew, to show by how much
    answers differ when nothing does. `fallbacks` are the settings that its steps do not run with on its models.
    """

    variant: Variant
    runner: Runner
    key: bytes
    tally: Tally
    answer: AnswerType | None
    again: int = 0
    fallbacks: Sequence[Fallback] = ()

    def sample(self, repeat: int) -> str:
        """Return the number of the sample that a repeat is."""
        return f"{repeat}+{self.again}" if self.again else str(repeat)


@dataclass(frozen=True, slots=True)
class Job:
    """Work on a cell: to ask it, or, where it is `kept`, to score it; `scores` are those that are known already."""

    planned: Planned
    kept: KeptCell | None = None
    scores: Scores = field(default_factory=dict)


@dataclass(slots=True)
class Progress:
    """How far a run is: of `total` cells `done` are saved, `known` of them were there before, `missing` have no answer.

    `failure` is the first reason for a missing answer, `broken` the first that says nothing of the request; `gave_up`
    tells that nothing more was asked after many. `wrong` of the cells are of rows that are wrong.
    """

    total: int
    done: int = 0
    known: int = 0
    missing: int = 0
    failure: str = ""
    broken: str = ""
    gave_up: bool = False
    wrong: int = 0
