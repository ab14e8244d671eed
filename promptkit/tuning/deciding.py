"""The axis of a step's cue and of how its answer is decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from promptkit.answers import AnswerType, constrained
from promptkit.errors import InputError
from promptkit.project import LIBRARY
from promptkit.prompts import Example, open_layout, render_file
from promptkit.runtimes import Request
from promptkit.techniques import choose, cost
from promptkit.tuning.candidate import AS_WRITTEN, Axis, Level
from promptkit.tuning.edits import section_source

if TYPE_CHECKING:
    from promptkit.engine import Pipeline, Step
    from promptkit.runtimes import Model

NO_CUE: Final = "none"
MOST: Final = 8
CUE_TEMPLATE: Final = LIBRARY / "templates" / "tuning" / "cue.j2"
SCORED: Final = ("label", "choice", "boolean")
NEEDS: Final = ("logprobs", "continue")


def answer_of(step: Step, inputs: Mapping[str, Any], scope: Mapping[str, Any]) -> AnswerType:
    """Return the type of a step's answer for these inputs of its prompt. Raises InputError where they give none."""
    asking = step.asking
    assert asking is not None, "only a step that asks has an answer"
    if isinstance(asking.answer, AnswerType):
        return asking.answer
    seen = {**asking.prompt.defaults, **inputs} if asking.answer_in_prompt else scope
    return asking.answer.of_example(Example(inputs, None), seen)


def decide_axis(
    pipeline: Pipeline, step: Step, model: Model, answer: AnswerType | None
) -> tuple[Axis, tuple[str, ...]]:
    """Return the axis `STEP.decide`, the cues times the ways to decide, and what is not tried and why.

    The cues are none, the layout's, one from the task, and the one that is written. Each is decided under a grammar or
    as written and, where the model can, by `score`; generated freely is the answer after the task's. `answer` is its
    type as it is for one row, None where that is not known.
    """
    deciding = _Deciding(pipeline, step, answer)
    ways, notes = deciding.ways(model)
    pairs = dict.fromkeys(_pairs(deciding.cues(), ways))
    pairs.pop((deciding.cue, deciding.decide), None)
    levels = [deciding.level(cue, way) for cue, way in pairs]
    name = f"{step.name}.decide"
    return Axis(name=name, step=step.name, kind="decide", levels=(Level(AS_WRITTEN), *levels[:MOST])), tuple(notes)


def _pairs(cues: Sequence[str], ways: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield cues (blank: none) with ways to decide, the likeliest to pay first."""
    spoken = [cue for cue in cues if cue]
    yield from ((cue, ways[0]) for cue in spoken)
    if "score" in ways:
        # Without a cue the first token of a reply is seldom a label's.
        yield from ((cue, "score") for cue in spoken)
    yield from ((spoken[0], way) for way in ways[1:] if way != "score")
    yield "", ways[0]


class _Deciding:
    """How a step's answer is decided as it is written, and how else it may be. A blank cue is none."""

    def __init__(self, pipeline: Pipeline, step: Step, answer: AnswerType | None) -> None:
        assert step.asking is not None, "only a step that asks decides"
        self._pipeline = pipeline
        self._step = step
        self._asking = step.asking
        self._answer = answer
        self._layouts = open_layout(step.asking.layout).cue.strip()
        self.decide: str = step.asking.decide
        self.cue = self._written()

    def _written(self) -> str:
        written = (self._asking.cue, section_source(self._asking.prompt, "cue"), self._layouts)
        chosen = next((text.strip() for text in written if text and text.strip()), "")
        return "" if chosen == NO_CUE else chosen

    def cues(self) -> list[str]:
        """Return the cues that may be tried, the task's first."""
        answer = self._answer.name if self._answer else ""
        told = {"step": self._step.name, "answer": answer, "each": self._step.for_each is not None}
        return list(dict.fromkeys([render_file(CUE_TEMPLATE, told), self.cue, self._layouts]))

    def ways(self, model: Model) -> tuple[list[str], list[str]]:
        """Return the ways to decide that a model can, what stands for free text first, and why not others."""
        name, answer = self._step.name, self._answer
        notes: list[str] = []
        held, notice = (None, None) if answer is None else constrained(Request(), answer, model.capabilities)
        can_hold = held is None or held.grammar is not None or held.schema is not None
        if notice:
            notes.append(f"{name}: {notice}")
        # Where a model cannot be held to a form, the two are the same request.
        ways = ["constrain", "generate"] if can_hold else [self.decide if self.decide != "score" else "generate"]
        if answer is not None and answer.name in SCORED:
            lacking = [need for need in NEEDS if need not in model.capabilities]
            if lacking:
                notes.append(f"{name}: `score` is not tried: {model.reference} lacks {' and '.join(lacking)}")
            else:
                ways.append("score")
        return ways, notes

    def level(self, cue: str, decide: str) -> Level:
        """Return the level that has a cue and a way to decide."""
        changes: dict[str, Any] = {}
        told = []
        if decide != self.decide:
            changes[f"{self._step.name}.decide"] = decide
            told.append(decide)
        if cue != self.cue:
            changes[f"{self._step.name}.cue"] = cue or NO_CUE
            told.append(f"cue `{cue}`" if cue else "no cue")
        about = f"{decide} after {f'`{cue}`' if cue else 'no cue'}"
        return Level(", ".join(told), changes, about, self._requests(decide) / self._requests(self.decide))

    def _requests(self, decide: str) -> float:
        """Return about how many requests a row costs that is decided so."""
        technique, project = self._asking.technique, self._pipeline.project
        try:
            requests = cost(choose(technique, project), project, decide=decide).requests
        except InputError:  # A formula of the project's own that does not work out.
            requests = 1.0
        return max(1.0, requests) + (scored_requests(self._answer) - 1 if decide == "score" else 0)


def scored_requests(answer: AnswerType | None) -> int:
    """Return about how many requests it takes to score an answer: one wherever labels part, told by their words."""
    next_words: dict[tuple[str, ...], set[str]] = {}
    for label in answer.alternatives() if answer else ():
        words = label.split()
        for length, word in enumerate(words):
            next_words.setdefault(tuple(words[:length]), set()).add(word)
    return max(1, sum(len(words) > 1 for words in next_words.values()))
