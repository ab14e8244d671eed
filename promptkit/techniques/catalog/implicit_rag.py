"""Implicit RAG: the model itself first copies the passages that matter, then answers from them, in one reply."""

import re

from promptkit.techniques.context import Answer, Exchange
from promptkit.techniques.parameters import Count, Tokens
from promptkit.techniques.reading import one_line, with_cue
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

SECTION = re.compile(r"^\W*section\s*\d+\W*?[:.)]", re.IGNORECASE | re.MULTILINE)
AROUND = " \n\t\"'“”*_"


@technique(roles=["context", "question"], requests="1 + decided")
async def implicit_rag(task: Task, *, sections: Count = 3, words: Count = 50, max_tokens: Tokens = 400) -> Answer:
    """Copy the sections of the context that matter most, then answer from them (Vatsal and Singh 2024).

    `sections` says how many, `words` how long each may be; `max_tokens` bounds both and the answer. What was copied is
    in `extra`, with those `ungrounded` that stand nowhere in the context. Warns where nothing was copied.
    """
    context = task.role("context")
    passages = context if isinstance(context, list) else []
    emptied = {"context": ""} if passages else None
    reply = await task.ask(
        "answer", replace=emptied, passages=passages, sections=sections, words=words, max_tokens=max_tokens
    )
    copied = read_sections(reply)
    if not copied:
        task.warn("no_passage")
    whole = one_line(" ".join(map(str, passages)) or str(context))
    ungrounded = [section for section in copied if one_line(section) not in whole]
    return (await task.decide(reply, marked=True)).with_extra(sections=copied, ungrounded=ungrounded)


def read_sections(exchange: Exchange) -> list[str]:
    """Return the sections that a reply lists before its answer, without quotes and emphasis around them."""
    listed = with_cue(exchange).text
    if exchange.cue:
        listed = re.split(rf"^\W*{re.escape(exchange.cue)}", listed, flags=re.IGNORECASE | re.MULTILINE)[0]
    copied = (section.strip(AROUND) for section in SECTION.split(listed)[1:])
    return [section for section in copied if section]
