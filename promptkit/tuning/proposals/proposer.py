"""Instructions proposed by a teacher model that is shown failures, and the crossover of two proposals.

Reflective mutation and system-aware merge as in GEPA (Agrawal et al. 2025, arXiv 2507.19457).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from promptkit.errors import InputError, RuntimeFailure, first_error
from promptkit.prompts.sections import SECTIONS
from promptkit.tuning.evaluator import partition_valid
from promptkit.tuning.prompt_edits import edit_sections, section_source
from promptkit.tuning.proposals.checks import proposal_problem
from promptkit.tuning.proposals.reflection import ReflectionPrompt, find_failures
from promptkit.tuning.search.race import BLOCK, ROWS_EACH
from promptkit.tuning.search_space.candidate import Candidate, Choice

if TYPE_CHECKING:
    from promptkit.prompts.prompt import Prompt
    from promptkit.runtimes.base import Model, Request
    from promptkit.runtimes.client import Client
    from promptkit.runtimes.models import Models
    from promptkit.tuning.data_split import DataSplit
    from promptkit.tuning.evaluator import Evaluator
    from promptkit.tuning.progress import TuningProgress


class Proposer:
    """Proposals for one step on one field."""

    def __init__(
        self, field: Evaluator, ground: DataSplit, step: str, teacher: Client, standing: TuningProgress
    ) -> None:
        self._field = field
        self._ground = ground
        self._step = step
        self._teacher = teacher
        self._standing = standing

    async def enough(self, leader: Candidate, order: Sequence[int], seen: int, calls: int, *, of: int) -> Sequence[int]:
        """Return rows of an order, from its first, on which a leader fails often enough to learn from.

        Beyond those `seen` it is asked more, as long as of the `calls` that are left `of` those for the race and for
        this enough remain to race proposals. Where that is not enough all that it was asked are returned. Raises
        BudgetSpent.
        """
        rows = order[:seen]
        while len(rows) < len(order) and find_failures(self._field, leader, rows).failed < LEAST_FAILURES:
            more = order[: len(rows) + BLOCK]
            calls -= ceil((len(more) - len(rows)) * leader.requests)
            if calls < LEAST_LEFT * of:
                break
            await self._field.have([leader], more)
            rows = more
        return rows

    async def propose(self, leader: Candidate, rows: Sequence[int], calls: int, *, of: int) -> list[Candidate]:
        """Return what is proposed for the leader of a race by what it got wrong on `rows`, within so many calls.

        These are what is left `of` those for the race and for this. What is refused is told. Raises BudgetSpent.
        """
        if why := why_not_taught(self._field, leader, rows, left=calls / max(1, of)):
            self._standing.note(why)
            return []
        most = min(MOST_PROPOSALS, calls // (ROWS_EACH + 1))
        found = await propose(self._field, self._ground.search, leader, self._step, self._teacher, most=most)
        for each in found.refused:
            self._standing.note(f"a proposal for `{self._step}` is refused: {each.why}")
        return list(found.candidates)

    def merged(self, leader: Candidate, two: Sequence[Candidate], rows: Sequence[int]) -> Candidate | None:
        """Return one that has of two proposals for the leader what each changed, None where that is no other one."""
        return crossover(self._field, rows, leader, two[0], two[1])


async def find_teacher(
    named: str | None, own: str | None, model: Model, models: Models, standing: TuningProgress
) -> Client | None:
    """Return who proposes: who was named, else the tuned model where it is large enough; None is told with why.

    `own` is what the tuned `model` is called, None for the default.
    """
    if named is not None:
        return await models.get(named)
    if why := why_not_own_teacher(model):
        standing.note(why)
        return None
    return await models.get(own)


MOST_PROPOSALS: Final = 6
LEAST_FAILURES: Final = 10
LEAST_LEFT: Final = 0.2
"""The share of the budget that must be left to find out whether what a teacher proposes is better."""
LEAST_PARAMETERS, FEW_PARAMETERS = 7e9, 1e9
"""From how many parameters on a model is its own teacher, and under how many its wording matters little."""
MOST_BYTES, LEAST_BYTES = 2.0, 0.5
"""Of weights, a parameter: sixteen bits, four bits."""

_SIZE: Final = re.compile(r"(?<![a-z0-9.])(?:\d+x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", re.IGNORECASE)
_THOUGHTS_END: Final = "</think>"


@dataclass(frozen=True, slots=True)
class RefusedProposal:
    """A proposal that is not tried: its text, and why."""

    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Proposals:
    """What a teacher proposed: candidates like any other, and what was refused."""

    candidates: tuple[Candidate, ...] = ()
    refused: tuple[RefusedProposal, ...] = ()


def why_not_own_teacher(model: Model) -> str | None:
    """Return why a model does not teach itself unless it is named as the teacher; None where it does.

    Its size is read from its name (`qwen2.5:7b`), else bounded by the bytes of its weights.
    """
    named = [float(size) * (1e9 if unit in "bB" else 1e6) for size, unit in _SIZE.findall(model.reference)]
    size = model.size or 0
    least = max(named) if named else size / MOST_BYTES
    most = max(named) if named else size / LEAST_BYTES
    if least >= LEAST_PARAMETERS:
        return None
    if 0 < most < FEW_PARAMETERS:
        why = "it has less than 1B parameters: wording moves little there, and it would not word well"
    elif 0 < most < LEAST_PARAMETERS:
        why = "it has less than 7B parameters"
    else:
        why = "nothing tells that it has 7B parameters or more"
    return f"no teacher: {model.reference} is not its own, for {why}; --teacher REF names one"


def why_not_taught(field: Evaluator, candidate: Candidate, rows: Sequence[int], *, left: float) -> str | None:
    """Return why a teacher is not asked about a candidate, None where it is; `left` is the share of the budget left."""
    failed = find_failures(field, candidate, rows).failed
    if failed < LEAST_FAILURES:
        return f"the teacher is not asked: {failed} rows fail, and {LEAST_FAILURES} are wanted to learn from"
    if left < LEAST_LEFT:
        return f"the teacher is not asked: less than {LEAST_LEFT:.0%} of the budget is left to try what it proposes"
    return None


async def propose(
    field: Evaluator,
    rows: Sequence[int],
    candidate: Candidate,
    step: str,
    teacher: Client,
    *,
    most: int = MOST_PROPOSALS,
    earlier: Sequence[Candidate] = (),
) -> Proposals:
    """Return candidates with other instructions for a step, each a proposal of a teacher; up to `most` are asked for.

    `rows` are all that the search may see: of those that the candidate was asked the teacher is shown failures, and no
    proposal may quote any. Each proposal is one request, which begins with another kind of failure. Refused is what
    `proposal_problem` refuses (`earlier` candidates are proposals that are there already), what the target cannot take,
    and what fails of the teacher. Raises BudgetSpent.
    """
    lesson = ReflectionPrompt(field, rows, candidate, step)
    if (why := lesson.why_none()) is not None:
        return Proposals(refused=(RefusedProposal("", why),))
    requests = lesson.requests(await teacher.model(), most)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_ask_teacher(teacher, request, lesson.fence)) for request in requests]
    except BaseExceptionGroup as raised:
        raise first_error(raised) from None
    texts = [lesson.instructions_of(each) for each in earlier]
    found: list[Candidate] = []
    refused: list[RefusedProposal] = []
    for text, failure in (task.result() for task in tasks):
        why = failure or proposal_problem(text, lesson.original, texts, lesson.told)
        proposal = _proposal_candidate(field, lesson, text, len(texts) + 1) if why is None else why
        if isinstance(proposal, str):
            refused.append(RefusedProposal(text, proposal))
        else:
            texts.append(text)
            found.append(proposal)
    return Proposals(tuple(found), tuple(refused))


def _proposal_candidate(field: Evaluator, lesson: ReflectionPrompt, text: str, number: int) -> Candidate | str:
    """Return the candidate with a proposal, or why there can be none."""
    try:
        proposal = lesson.candidate_of(text, number)
    except InputError as error:
        return "; ".join(str(problem) for problem in error.problems)
    wrong = partition_valid(field, [proposal])[1]
    return wrong[0][1] if wrong else proposal


async def _ask_teacher(teacher: Client, request: Request, fence: str) -> tuple[str, str | None]:
    """Return the instructions in a teacher's reply, and what went wrong with it."""
    try:
        reply = await teacher.ask(request)
    except RuntimeFailure as failure:
        return "", f"the teacher failed: {failure}"
    text, is_closed = fenced(reply.text, fence)
    return text, "it was cut off" if reply.finish == "length" and not is_closed else None


def fenced(reply: str, fence: str) -> tuple[str, bool]:
    """Return the last text between fences in a reply, and whether it is closed; without fences all of it.

    The name of a language after the opening fence and a reasoning model's thoughts are left out.
    """
    reply = reply.rpartition(_THOUGHTS_END)[2]
    least = len(fence) if fence in reply else 3
    parts = re.split(rf"`{{{least},}}", reply)
    inside = [(re.sub(r"\A\w*\n", "", part).strip(), at + 1 < len(parts)) for at, part in enumerate(parts) if at % 2]
    return next((each for each in reversed(inside) if each[0]), (parts[0].strip(), False))


WORDING_SUFFIX = ".wording"


def crossover(
    field: Evaluator, rows: Sequence[int], parent: Candidate, first: Candidate, second: Candidate
) -> Candidate | None:
    """Return what has of two candidates whatever either has changed of their parent; nothing is asked.

    Where both have changed the same axis, or the same section of a step's prompt, the one that is better on the rows
    that both were asked says how it is. None unless each is the better on some row, and where the merged one would be
    one of the three.
    """
    import numpy as np

    differences = field.scores(first, rows) - field.scores(second, rows)
    if not ((differences > 0).any() and (differences < 0).any()):
        return None
    better, other = (first, second) if np.nanmean(differences) > 0 else (second, first)
    merged = parent
    for axis in sorted({*parent.choices, *first.choices, *second.choices}):
        before, ours, theirs = (_choice_changes(each, axis) for each in (parent, better, other))
        if axis.endswith(WORDING_SUFFIX) and before not in (ours, theirs) and ours != theirs:
            level: Choice | None = _merged_wording(field, (parent, better, other), axis)
        else:
            level = (other if ours == before else better).choices.get(axis)
        merged = merged.taking(axis, level)
    return None if merged.key in (parent.key, first.key, second.key) else merged


def _choice_changes(candidate: Candidate, axis: str) -> Mapping[str, Any]:
    level = candidate.choices.get(axis)
    return level.changes if level else {}


def _merged_wording(field: Evaluator, three: tuple[Candidate, Candidate, Candidate], axis: str) -> Choice:
    """Return the wording that has of two others, the better first, what each has changed of the parent's."""
    step = axis.removesuffix(WORDING_SUFFIX)
    pipelines = [field.variant(each).pipeline for each in three]
    sources = [_prompt_sections(pipeline.steps[step].prompt) for pipeline in pipelines]
    changed = _merge_changes(*sources)
    sections = {name: changed.get(name, "") for name in SECTIONS if changed.get(name) != sources[0].get(name)}
    changes = _merge_changes(*(_choice_changes(each, axis) for each in three))
    changes |= edit_sections(pipelines[0], step, sections)
    names = [each.choices[axis].name for each in three[1:]]
    return Choice(f"{names[0]} + {names[1]}", changes)


def _prompt_sections(prompt: Prompt | None) -> dict[str, str]:
    assert prompt is not None, "only a step that asks has a wording"
    return {name: source for name in SECTIONS if (source := section_source(prompt, name)) is not None}


def _merge_changes(before: Mapping[str, Any], ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return ours, with what only theirs differ from before in."""
    names = {*ours, *theirs}
    taken = {name: theirs if ours.get(name) == before.get(name) else ours for name in sorted(names)}
    return {name: source[name] for name, source in taken.items() if name in source}
