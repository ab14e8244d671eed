"""The axis of a step's cue and of how its answer is decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from promptkit.answers import AnswerType, constrained
from promptkit.errors import InputError
from promptkit.project import LIBRARY
from promptkit.prompts import Example, open_layout, render_file
from promptkit.runtimes import Request
from promptkit.techniques import choose, cost
from promptkit.tuning.candidate import AS_WRITTEN, Axis, Level

if TYPE_CHECKING:
    from promptkit.engine import Pipeline, Step
    from promptkit.runtimes import Model

NO_CUE: Final = "none"
MOST: Final = 8
CUE_TEMPLATE: Final = LIBRARY / "templates" / "tuning" / "cue.j2"
SCORED: Final = ("label", "choice", "boolean")
NEEDS: Final = ("logprobs", "continue")


@dataclass(frozen=True, slots=True)
class _Ways:
    """How the answer of a step may be decided, and why not otherwise."""

    decides: tuple[str, ...]
    notes: tuple[str, ...]


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

    The cues are none, the layout's, one from the task, and the one that is written. `answer` is the type of the answer
    as it is for one row, None where that is not known. Each cue is decided as written and, where the model can, by
    `score`; the answer is generated freely with the cue that is likeliest to pay.
    """
    asking = step.asking
    assert asking is not None, "only a step that asks decides"
    ways = _ways(step, model, answer)
    written = _written_cue(step)
    cues = _cues(step, written, answer)
    pairs = dict.fromkeys(_pairs(cues, ways.decides))
    pairs.pop((written, asking.decide), None)
    levels = [_level(pipeline, step, cue, decide, written, answer) for cue, decide in pairs]
    return Axis(
        name=f"{step.name}.decide", step=step.name, kind="decide", levels=(Level(AS_WRITTEN), *levels[:MOST])
    ), ways.notes


def _pairs(cues: list[str], decides: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield cues with ways to decide, the likeliest to pay first; the last of the cues is none."""
    first = next(iter(decides))
    spoken = [cue for cue in cues if cue]
    yield from ((cue, first) for cue in spoken)
    if "score" in decides:
        # Without a cue the first token of a reply is seldom a label's.
        yield from ((cue, "score") for cue in spoken)
    yield from ((spoken[0], decide) for decide in decides[1:] if decide != "score" and spoken)
    yield "", first


def _ways(step: Step, model: Model, answer: AnswerType | None) -> _Ways:
    asking = step.asking
    assert asking is not None
    decides, notes = [], []
    wanted = None if answer is None else constrained(Request(), answer, model.capabilities)
    if wanted is None or wanted[0].grammar or wanted[0].schema:
        decides.append("constrain")
    elif wanted[1]:
        notes.append(f"{step.name}: {wanted[1]}")
    decides.append("generate")
    lacking = [need for need in NEEDS if need not in model.capabilities]
    if answer is not None and answer.name in SCORED:
        if lacking:
            notes.append(f"{step.name}: `score` is not tried: {model.reference} lacks {' and '.join(lacking)}")
        else:
            decides.append("score")
    written = asking.decide
    if written == "constrain" and "constrain" not in decides:
        decides = ["constrain", *(each for each in decides if each != "generate")]
    return _Ways(tuple(decides), tuple(notes))


def _written_cue(step: Step) -> str:
    """Return the cue that a step's answer follows as it is written, blank for none."""
    asking = step.asking
    assert asking is not None
    section = ""
    if "cue" in asking.prompt.blocks:
        from promptkit.tuning.edits import section_source

        section = section_source(asking.prompt, "cue") or ""
    given = (asking.cue, section, open_layout(asking.layout).cue)
    chosen = next((text.strip() for text in given if text and text.strip()), "")
    return "" if chosen == NO_CUE else chosen


def _cues(step: Step, written: str, answer: AnswerType | None) -> list[str]:
    """Return the cues that may be tried, the task's first; what is blank is none."""
    asking = step.asking
    assert asking is not None
    told = {"step": step.name, "answer": answer.name if answer else "", "each": step.for_each is not None}
    task = render_file(CUE_TEMPLATE, told)
    return list(dict.fromkeys([task, written or task, open_layout(asking.layout).cue.strip(), ""]))


def _level(pipeline: Pipeline, step: Step, cue: str, decide: str, written: str, answer: AnswerType | None) -> Level:
    asking = step.asking
    assert asking is not None
    changes: dict[str, Any] = {}
    told = []
    if decide != asking.decide:
        changes[f"{step.name}.decide"] = decide
        told.append(decide)
    if cue != written:
        changes[f"{step.name}.cue"] = cue or NO_CUE
        told.append(f"cue `{cue}`" if cue else "no cue")
    about = f"{decide} after {f'`{cue}`' if cue else 'no cue'}"
    return Level(", ".join(told), changes, about, _requests(pipeline, step, decide, answer))


def _requests(pipeline: Pipeline, step: Step, decide: str, answer: AnswerType | None) -> float:
    """Return about how many requests a row costs when it is decided so, of one as it is written."""
    asking = step.asking
    assert asking is not None
    spent = []
    for way in (decide, asking.decide):
        try:
            requests = cost(choose(asking.technique, pipeline.project), pipeline.project, decide=way).requests
        except InputError:
            requests = 1.0
        spent.append(requests - 1 + scored_requests(answer) if way == "score" else requests)
    return spent[0] / spent[1] if spent[1] else 1.0


def scored_requests(answer: AnswerType | None) -> int:
    """Return about how many requests it takes to score an answer: one wherever labels part, told by their words."""
    paths = [tuple(label.split()) for label in answer.alternatives()] if answer else []
    starts = {path[:length] for path in paths for length in range(len(path))}
    return max(
        1, sum(len({path[: len(start) + 1] for path in paths if path[: len(start)] == start}) > 1 for start in starts)
    )
