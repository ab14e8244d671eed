"""Instructions that a teacher model proposes: it sees what fails, and rewrites what the model was told.

Reflective mutation as in GEPA (Agrawal et al. 2025, arXiv 2507.19457): a parent, its failures, and better words.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from promptkit.errors import InputError, RuntimeFailure, first_error
from promptkit.tuning.failing import find_failures
from promptkit.tuning.field import usable
from promptkit.tuning.lesson import Lesson
from promptkit.tuning.refusing import what_is_wrong

if TYPE_CHECKING:
    from promptkit.runtimes import Asker, Model, Request
    from promptkit.tuning.candidate import Candidate
    from promptkit.tuning.field import Field

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
class Refused:
    """A proposal that is not tried: its text, and why."""

    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Proposed:
    """What a teacher proposed: candidates like any other, and what was refused."""

    candidates: tuple[Candidate, ...] = ()
    refused: tuple[Refused, ...] = ()


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


def why_not_taught(field: Field, candidate: Candidate, rows: Sequence[int], *, left: float) -> str | None:
    """Return why a teacher is not asked about a candidate, None where it is; `left` is the share of the budget left."""
    failed = find_failures(field, candidate, rows).failed
    if failed < LEAST_FAILURES:
        return f"the teacher is not asked: {failed} rows fail, and {LEAST_FAILURES} are wanted to learn from"
    if left < LEAST_LEFT:
        return f"the teacher is not asked: less than {LEAST_LEFT:.0%} of the budget is left to try what it proposes"
    return None


async def propose(
    field: Field,
    rows: Sequence[int],
    candidate: Candidate,
    step: str,
    teacher: Asker,
    *,
    most: int = MOST_PROPOSALS,
    earlier: Sequence[Candidate] = (),
) -> Proposed:
    """Return candidates with other instructions for a step, each a proposal of a teacher; up to `most` are asked for.

    `rows` are all that the search may see: of those that the candidate was asked the teacher is shown failures, and no
    proposal may quote any. Each proposal is one request, which begins with another kind of failure. Refused is what
    `what_is_wrong` refuses (`earlier` candidates are proposals that are there already), what the target cannot take,
    and what fails of the teacher. Raises BudgetSpent.
    """
    lesson = Lesson(field, rows, candidate, step)
    if (why := lesson.why_none()) is not None:
        return Proposed(refused=(Refused("", why),))
    requests = lesson.requests(await teacher.model(), most)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_ask(teacher, request, lesson.fence)) for request in requests]
    except BaseExceptionGroup as raised:
        raise first_error(raised) from None
    texts = [lesson.instructions_of(each) for each in earlier]
    found: list[Candidate] = []
    refused: list[Refused] = []
    for text, failure in (task.result() for task in tasks):
        why = failure or what_is_wrong(text, lesson.original, texts, lesson.told)
        proposal = _candidate(field, lesson, text, len(texts) + 1) if why is None else why
        if isinstance(proposal, str):
            refused.append(Refused(text, proposal))
        else:
            texts.append(text)
            found.append(proposal)
    return Proposed(tuple(found), tuple(refused))


def _candidate(field: Field, lesson: Lesson, text: str, number: int) -> Candidate | str:
    """Return the candidate with a proposal, or why there can be none."""
    try:
        proposal = lesson.candidate_of(text, number)
    except InputError as error:
        return "; ".join(str(problem) for problem in error.problems)
    wrong = usable(field, [proposal])[1]
    return wrong[0][1] if wrong else proposal


async def _ask(teacher: Asker, request: Request, fence: str) -> tuple[str, str | None]:
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
