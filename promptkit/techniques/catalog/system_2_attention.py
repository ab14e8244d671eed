"""System 2 attention: write the input anew without opinion and noise, and answer from that alone."""

import re
from typing import Any, Final

from promptkit.techniques.context import Answer, Exchange, Spec
from promptkit.techniques.parameters import Tokens
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

LABEL: Final = r"(?:^|\n)[^\w\n]*(?:\d[.):][^\w\n]*)?{}[^\S\n]*(?:\([^)]*\))?[\"“”*_]*[^\S\n]*:?[\"“”*_]*"
PARTS: Final = {
    "context": re.compile(LABEL.format(r"unbiased text context"), re.IGNORECASE),
    "question": re.compile(LABEL.format(r"question\s*/\s*query"), re.IGNORECASE),
}
COMMENT: Final = re.compile(
    r"\n\s*\n|\n\W*(?:unbiased |final |the )*(?:answer|note|explanation)\b[^\n]*:", re.IGNORECASE
)


@technique(roles=["context?", "question"], calls="1 + over_calls", requests="1 + over_requests")
async def system_2_attention(task: Task, *, over: Spec = "vanilla", max_tokens: Tokens = 300) -> Answer:
    """Rewrite context and question without bias, then answer from the rewriting only (Weston and Sukhbaatar 2023).

    The rewriting stands in place of the sections `context` and `input` and of the inputs that are bound, in every call
    of `over`. A rewriting without its two labels is taken whole, as the question, with a warning. It is in `extra`,
    with the numbers of the question that it lost. `max_tokens` bounds it.
    """
    rewriting = await task.ask("rewrite", text=original(task), max_tokens=max_tokens)
    if rewriting.cut:
        task.note(rewriting, "the rewriting ran out of tokens")
    parts = read_parts(task, rewriting)
    if not any(parts.values()):
        return task.no_answer("the rewriting is empty", rewriting).with_extra(rewritten=parts)
    question = str(task.role("question") or "")
    lost = [number for number in numbers(question) if number not in numbers(" ".join(parts.values()))]
    replaced: dict[str, Any] = dict(parts)
    if isinstance(task.role("context"), list):
        replaced["context"] = [parts["context"]] if parts["context"] else []
    answer = await task.run(over, beneath=task.layer("answer", **parts), replace=replaced)
    return answer.with_extra(rewritten=parts, lost_numbers=lost)


def original(task: Task) -> str:
    """Return all that a person wrote: the sections of context and input, and what is bound and stands in neither."""
    sections = [task.section("context"), task.section("input")]
    context = task.role("context") or []
    bound = [*(context if isinstance(context, list) else [context]), task.role("question") or ""]
    unseen = [str(text) for text in bound if not any(str(text).strip() in section for section in sections)]
    return "\n\n".join(filter(None, [*unseen, *sections]))


def read_parts(task: Task, rewriting: Exchange) -> dict[str, str]:
    """Return context and question of a rewriting, without their labels and the comments around them."""
    text = rewriting.text
    found = {name: match for name, label in PARTS.items() if (match := label.search(text))}
    if len(found) == len(PARTS):
        starts = sorted(match.start() for match in found.values())
        ends = {start: end for start, end in zip(starts, [*starts[1:], len(text)], strict=True)}
        parts = {name: text[match.end() : ends[match.start()]].strip() for name, match in found.items()}
        parts["question"] = COMMENT.split(parts["question"])[0].strip()
        if parts["question"]:
            return parts
    task.note(rewriting, "the rewriting lacks its labels, and stands whole in place of the input")
    task.warn("unread_call")
    return {"context": "", "question": text.strip()}


def numbers(text: str) -> list[str]:
    """Return the numbers in a text, each once."""
    return list(dict.fromkeys(re.findall(r"\d+(?:[.,]\d+)*", text)))
