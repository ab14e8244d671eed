"""The form in which a step's answer is decided: the request under it, and the answer out of its reply."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from promptkit.answers.base import AnswerType, Unparsed
from promptkit.answers.constraints.forms import EXTRA_TOKENS, UNCONSTRAINED, ReplyForm, plain_form, reply_form
from promptkit.answers.decide import Scores, lead_after, score_needs
from promptkit.errors import Unsupported
from promptkit.runtimes.base import Request
from promptkit.techniques.context import Answer, Exchange, StepContext
from promptkit.techniques.warnings import WARNING_TEXTS


async def deciding_form(step: StepContext, kind: AnswerType | None = None) -> ReplyForm:
    """Return the form of a reply that is the step's answer, or an aside of another type: plain where nothing constrains
    it, and where labels are scored.
    """
    kind = kind or step.answer
    if step.decide == "generate":
        return plain_form(kind)
    model = await step.client.model()
    scores = step.decide == "score" and not score_needs(kind) - model.capabilities
    return plain_form(kind) if scores else reply_form(kind, model.capabilities)


async def constrained_form(step: StepContext) -> ReplyForm:
    """Return the form of a repaired reply: labels that were scored are asked for under a constraint."""
    model = await step.client.model()
    return plain_form(step.answer) if step.decide == "generate" else reply_form(step.answer, model.capabilities)


def unwrapped(exchange: Exchange) -> Exchange:
    """Return an exchange whose answer in JSON is replaced by its plain text, which techniques put into other calls.

    A reply that has no such text stays as it is.
    """
    if exchange.form.writing == "plain" or exchange.cut:
        return exchange
    try:
        text = exchange.form.answer.write(exchange.form.read(exchange.text))
    except (Unparsed, ValueError):
        return exchange
    return replace(exchange.with_text(text), unwrapped=True)


def constrained(step: StepContext, request: Request, form: ReplyForm) -> Request:
    """Return a request under a form, with tokens for the JSON around its answer."""
    if form.notice and form.form is UNCONSTRAINED:
        _fall_back(step, form.notice, "generate")
    elif form.notice:
        step.notice(form.notice)
    tokens = min(request.max_tokens + EXTRA_TOKENS[form.writing], step.options.max_tokens or sys.maxsize)
    request = replace(request, max_tokens=max(tokens, request.max_tokens))
    return form.constrain(request, lead_after(request.begun))


async def can_score(step: StepContext) -> bool:
    """Tell whether the runtime can score; if not, the step runs as `constrain` and says so once."""
    model = await step.client.model()
    missing = sorted(score_needs(step.answer) - model.capabilities)
    if missing:
        _fall_back(step, f"{model.reference} cannot score (it lacks {', '.join(missing)})", "constrain")
    return not missing


def _fall_back(step: StepContext, reason: str, decide: str) -> None:
    if step.strict:
        raise Unsupported(reason, hint=f"set `decide: {decide}`, or leave out --strict")
    step.notice(f"{reason}; the step runs as `decide: {decide}`")


def scored_answer(exchange: Exchange, scores: Scores) -> Answer:
    """Return the likeliest label; no answer, and nothing to repair, where the model showed none of the labels."""
    record = exchange.record
    extra: dict[str, Any] = {"scores": scores.logprobs}
    if exchange.by_head:
        extra["head"] = dict(exchange.by_head)
    if scores.outside:
        extra["outside"] = scores.outside
    if scores.offsets:
        extra["offsets"] = scores.offsets
    if scores.value is None:
        record.problem, record.warnings = WARNING_TEXTS["no_label_shown"], (*record.warnings, "no_label_shown")
        return Answer(value=None, flag="unparsed", problem=f"the model {record.problem}", extra=extra)
    if scores.outside:
        record.warnings = (*record.warnings, "outside_labels")
    record.parsed = scores.value
    return Answer(value=scores.value, extra=extra, last=exchange)
