"""Instructions proposed by a teacher model that is shown failures, and the crossover of two proposals.

Reflective mutation and system-aware merge as in GEPA (Agrawal et al. 2025, arXiv 2507.19457).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

import numpy as np

from promptkit.errors import InputError, RuntimeFailure, first_error
from promptkit.prompts.prompt import Prompt
from promptkit.prompts.sections import SECTIONS
from promptkit.runtimes.base import Request
from promptkit.runtimes.client import Client
from promptkit.tuning.data_split import DataSplit
from promptkit.tuning.evaluator import Evaluator, partition_valid
from promptkit.tuning.progress import TuningProgress
from promptkit.tuning.prompt_edits import edit_sections, section_source
from promptkit.tuning.proposals.checks import proposal_problem
from promptkit.tuning.proposals.reflection import ReflectionPrompt, find_failures
from promptkit.tuning.search.race import BLOCK, ROWS_EACH
from promptkit.tuning.search_space.candidate import Candidate, Choice


class Proposer:
    """Proposes wordings of one step on one evaluator, by a teacher model, until that is gone."""

    def __init__(
        self, evaluator: Evaluator, split: DataSplit, step: str, teacher: Client, progress: TuningProgress
    ) -> None:
        self._evaluator = evaluator
        self._split = split
        self._step = step
        self._teacher = teacher
        self._progress = progress
        self._is_gone = False

    async def rows_to_learn_from(
        self, leader: Candidate, order: Sequence[int], seen: int, calls: int, *, of: int
    ) -> Sequence[int]:
        """Return rows of an order, from its first, on which a leader fails often enough to learn from.

        Beyond its `seen` rows it is evaluated on more, as long as enough of the `calls` left `of` those for the race
        and for proposals remain to race proposals. If failures stay too few, all evaluated rows are returned. Raises
        BudgetSpent.
        """
        rows = order[:seen]
        while len(rows) < len(order) and find_failures(self._evaluator, leader, rows).failed < LEAST_FAILURES:
            more = order[: len(rows) + BLOCK]
            calls -= ceil((len(more) - len(rows)) * leader.requests)
            if calls < LEAST_LEFT * of:
                break
            await self._evaluator.evaluate([leader], more)
            rows = more
        return rows

    async def propose(
        self, leader: Candidate, rows: Sequence[int], calls: int, *, of: int, earlier: Sequence[Candidate] = ()
    ) -> list[Candidate]:
        """Return proposals for the leader of a race from its failures on `rows`, within `calls` calls.

        These are what is left `of` the calls for the race and for proposals. `earlier` proposals are not made again.
        Refused proposals are noted, and so is a teacher that answers nothing, which is not asked again. Raises
        BudgetSpent.
        """
        if self._is_gone:
            return []
        if why := why_not_taught(self._evaluator, leader, rows, left=calls / max(1, of)):
            if not earlier:
                self._progress.note(why)
            return []
        most = min(MOST_PROPOSALS, calls // (ROWS_EACH + 1))
        proposals = await propose(
            self._evaluator, self._split.visible, leader, self._step, self._teacher, most=most, earlier=earlier
        )
        for refused in proposals.refused:
            self._progress.note(f"a proposal for `{self._step}` is refused: {refused.why}")
        if proposals.failure:
            self._is_gone = True
            self._progress.note(f"the teacher is gone, and the tuning goes on without it: {proposals.failure}")
        return list(proposals.candidates)

    def crossover(self, leader: Candidate, two: Sequence[Candidate], rows: Sequence[int]) -> Candidate | None:
        """Return the crossover of two proposals for the leader, None if it is no new candidate."""
        return crossover(self._evaluator, rows, leader, two[0], two[1])


MOST_PROPOSALS: Final = 6
LEAST_FAILURES: Final = 10
LEAST_LEFT: Final = 0.2
"""The least share of the budget that must be left to find out whether a teacher's proposals are better."""
_THOUGHTS_END: Final = "</think>"


@dataclass(frozen=True, slots=True)
class RefusedProposal:
    """A proposal that is not tried: its text, and why."""

    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Proposals:
    """A teacher's proposals as candidates, and the refused ones. `failure`: why the teacher answered nothing at all."""

    candidates: tuple[Candidate, ...] = ()
    refused: tuple[RefusedProposal, ...] = ()
    failure: str = ""


def why_not_taught(evaluator: Evaluator, candidate: Candidate, rows: Sequence[int], *, left: float) -> str | None:
    """Return the reason why a teacher is not asked about a candidate, None if it is; `left` is the share of the budget
    left.
    """
    failed = find_failures(evaluator, candidate, rows).failed
    if failed < LEAST_FAILURES:
        return f"the teacher is not asked: {failed} rows fail, and {LEAST_FAILURES} are wanted to learn from"
    if left < LEAST_LEFT:
        return f"the teacher is not asked: less than {LEAST_LEFT:.0%} of the budget is left to try what it proposes"
    return None


async def propose(
    evaluator: Evaluator,
    rows: Sequence[int],
    candidate: Candidate,
    step: str,
    teacher: Client,
    *,
    most: int = MOST_PROPOSALS,
    earlier: Sequence[Candidate] = (),
) -> Proposals:
    """Return candidates with other instructions for a step, each a proposal of a teacher; at most `most` are asked for.

    `rows` are all that the search may see. The teacher is shown failures on those that the candidate was evaluated on,
    and no proposal may quote any row. Each proposal is one request, which begins with another kind of failure. Refused
    are proposals that `proposal_problem` refuses (`earlier` candidates hold proposals that exist already), that the
    target cannot take, and failed requests. Raises BudgetSpent.
    """
    reflection = ReflectionPrompt(evaluator, rows, candidate, step)
    if (why := reflection.why_unusable()) is not None:
        return Proposals(refused=(RefusedProposal("", why),))
    try:
        requests = reflection.requests(await teacher.model(), most)
    except RuntimeFailure as failure:
        return Proposals(failure=str(failure))
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_ask_teacher(teacher, request, reflection.fence)) for request in requests]
    except BaseExceptionGroup as raised:
        raise first_error(raised) from None
    replies = [task.result() for task in tasks]
    failures = [reply for reply in replies if isinstance(reply, RuntimeFailure)]
    if failures and len(failures) == len(replies):
        return Proposals(failure=str(failures[0]))
    texts = [reflection.instructions_of(candidate) for candidate in earlier]
    candidates: list[Candidate] = []
    refused = [RefusedProposal("", f"the teacher failed: {failure}") for failure in failures]
    for reply in replies:
        if isinstance(reply, RuntimeFailure):
            continue
        text, is_cut = reply
        why = "it was cut off" if is_cut else proposal_problem(text, reflection.original, texts, reflection.protected)
        proposal = _proposal_candidate(evaluator, reflection, text, len(texts) + 1) if why is None else why
        if isinstance(proposal, str):
            refused.append(RefusedProposal(text, proposal))
        else:
            texts.append(text)
            candidates.append(proposal)
    return Proposals(tuple(candidates), tuple(refused))


def _proposal_candidate(evaluator: Evaluator, reflection: ReflectionPrompt, text: str, number: int) -> Candidate | str:
    """Return the candidate with a proposal, or why there can be none."""
    try:
        proposal = reflection.candidate_of(text, number)
    except InputError as error:
        return "; ".join(str(problem) for problem in error.problems)
    wrong = partition_valid(evaluator, [proposal])[1]
    return wrong[0][1] if wrong else proposal


async def _ask_teacher(teacher: Client, request: Request, fence: str) -> tuple[str, bool] | RuntimeFailure:
    """Return the instructions in a teacher's reply, and whether they were cut off; or the failure of the request."""
    try:
        reply = await teacher.ask(request)
    except RuntimeFailure as failure:
        return failure
    text, is_closed = fenced(reply.text, fence)
    return text, reply.finish == "length" and not is_closed


def fenced(reply: str, fence: str) -> tuple[str, bool]:
    """Return the last text between fences in a reply, and whether the fence is closed; without fences the whole reply.

    The name of a language after the opening fence and the thoughts of a reasoning model are left out.
    """
    reply = reply.rpartition(_THOUGHTS_END)[2]
    least = len(fence) if fence in reply else 3
    parts = re.split(rf"`{{{least},}}", reply)
    inside = [(re.sub(r"\A\w*\n", "", part).strip(), at + 1 < len(parts)) for at, part in enumerate(parts) if at % 2]
    return next((text for text in reversed(inside) if text[0]), (parts[0].strip(), False))


WORDING_SUFFIX = ".wording"


def crossover(
    evaluator: Evaluator, rows: Sequence[int], parent: Candidate, first: Candidate, second: Candidate
) -> Candidate | None:
    """Merge two children of one parent, taking each one's changes. Sends no request.

    If both changed the same parameter, or the same section of a step's prompt, the child that is better on the rows
    that both were evaluated on decides. None unless each child is better on some row, and if the result equals one of
    the three. System-aware merge as in GEPA (Agrawal et al. 2025).
    """
    differences = evaluator.scores(first, rows) - evaluator.scores(second, rows)
    if not ((differences > 0).any() and (differences < 0).any()):
        return None
    better, other = (first, second) if np.nanmean(differences) > 0 else (second, first)
    merged = parent
    for parameter in sorted({*parent.choices, *first.choices, *second.choices}):
        before, ours, theirs = (_choice_changes(candidate, parameter) for candidate in (parent, better, other))
        if parameter.endswith(WORDING_SUFFIX) and before not in (ours, theirs) and ours != theirs:
            choice: Choice | None = _merged_wording(evaluator, (parent, better, other), parameter)
        else:
            choice = (other if ours == before else better).choices.get(parameter)
        merged = merged.with_choice(parameter, choice)
    return None if merged.key in (parent.key, first.key, second.key) else merged


def _choice_changes(candidate: Candidate, parameter: str) -> Mapping[str, Any]:
    choice = candidate.choices.get(parameter)
    return choice.changes if choice else {}


def _merged_wording(evaluator: Evaluator, three: tuple[Candidate, Candidate, Candidate], parameter: str) -> Choice:
    """Return the wording with the changes of two children, the better first, to their parent's."""
    step = parameter.removesuffix(WORDING_SUFFIX)
    pipelines = [evaluator.variant(candidate).pipeline for candidate in three]
    sources = [_prompt_sections(pipeline.steps[step].prompt) for pipeline in pipelines]
    changed = _merge_changes(*sources)
    sections = {name: changed.get(name, "") for name in SECTIONS if changed.get(name) != sources[0].get(name)}
    changes = _merge_changes(*(_choice_changes(candidate, parameter) for candidate in three))
    changes |= edit_sections(pipelines[0], step, sections)
    names = [candidate.choices[parameter].name for candidate in three[1:]]
    return Choice(f"{names[0]} + {names[1]}", changes)


def _prompt_sections(prompt: Prompt | None) -> dict[str, str]:
    assert prompt is not None, "only a step that asks has a wording"
    return {name: source for name in SECTIONS if (source := section_source(prompt, name)) is not None}


def _merge_changes(before: Mapping[str, Any], ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the better child's values, with those that only the other child changed."""
    names = {*ours, *theirs}
    taken = {name: theirs if ours.get(name) == before.get(name) else ours for name in sorted(names)}
    return {name: source[name] for name, source in taken.items() if name in source}
