"""Chain of knowledge: rationales corrected one after the other by what documents say, where samples disagree."""

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from promptkit.techniques.context import Answer, Exchange
from promptkit.techniques.methods.document_reader import sentences
from promptkit.techniques.parameters import Count, Warmth
from promptkit.techniques.reading import before_cue, one_line
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

Domains = Annotated[Sequence[str], Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Start = Callable[[], Awaitable[Any]]
DOMAINS = ("factual", "medical", "physical", "biology")
MOST_FOUND = 100
"""The number of passages found before those of other domains are left out."""

_FIRST = re.compile(r"(?:(?<!\s)\s+)?First,\s*", re.IGNORECASE)
_SECOND = re.compile(r"(?:(?<!\s)\s+)?\bSecond,\s*", re.IGNORECASE)


@technique(
    needs={"sampling", "documents"},
    roles=["question", "documents?"],
    calls="samples + 5 + (2 * (domains | length) if write_queries else 0)",
    requests="samples * (1 + decided) + 5 + (2 * (domains | length) if write_queries else 0)",
)
async def chain_of_knowledge(
    task: Task,
    *,
    samples: Count = 5,
    temperature: Warmth = 0.7,
    threshold: Share = 0.5,
    passages: Count = 3,
    domains: Domains = DOMAINS,
    write_queries: bool = False,
) -> Answer:
    """Where too few samples agree, correct their rationales by documents, and answer from these (Li et al. 2024).

    A sub-folder of the documents with the name of one of the `domains` is searched only where the question is of that
    domain. A rationale is its own query unless `write_queries`. A sample without an answer is not counted.
    """
    begun: list[Start] = [partial(choose, task, domains), partial(reason, task, samples, temperature)]
    chosen, sampled = await task.each(lambda start: start(), begun)
    voted = task.vote([answer for _, answer in sampled]).with_extra(domains=chosen)
    parsed = [(thoughts, task.vote_key(answer)) for thoughts, answer in sampled if answer.flag is None]
    agreeing = [thoughts for thoughts, key in parsed if key == task.vote_key(voted)]
    if len(agreeing) >= threshold * len(parsed):
        return voted
    look_up = partial(search, task, domains, chosen, passages, write_queries)
    first, *others = rationales(agreeing[0])
    corrected = [await correct(task, first, await look_up(first))]
    if others:
        going_on = await task.ask("next", edited=texts(corrected), stop=ends(task), demos=shown(task))
        if second := one_line(_SECOND.split(going_on.said)[-1]):  # Some begin anew with the first.
            corrected.append(await correct(task, second, await look_up(second)))
    answer = await task.decide(await task.ask("final", edited=texts(corrected), demos=shown(task)))
    return answer.with_extra(**voted.extra, rationales=corrected)


async def choose(task: Task, domains: Sequence[str]) -> list[str]:
    """Return the domains of a question in the order of the reply; the first of all where it names none."""
    return (await task.ask("domain", domains=list(domains))).value or [domains[0]]


async def reason(task: Task, samples: int, temperature: float) -> list[tuple[Exchange, Answer]]:
    """Return chains of two rationales, each with its answer."""
    stop = ends(task) if task.decides else []
    chains = await task.sample("reason", samples, temperature=temperature, stop=stop, demos=shown(task))
    return list(zip(chains, await task.each(task.decide, chains), strict=True))


async def search(
    task: Task, domains: Sequence[str], chosen: Sequence[str], count: int, writes: bool, rationale: str
) -> list[str]:
    """Return the documents' passages about a rationale, without those of other domains than the question's."""
    queries = [rationale]
    if writes:
        written = await task.each(lambda domain: task.ask("query", source=domain, sentence=rationale), chosen)
        queries = [one_line(reply.said) or rationale for reply in written]
    others = set(domains) - set(chosen)
    found: dict[str, None] = {}
    for query in queries:
        passages = await task.retrieve(query, MOST_FOUND)
        fitting = [
            " ".join(sentences(passage.text)) for passage in passages if passage.source.partition("/")[0] not in others
        ]
        found |= dict.fromkeys(fitting[:count])
    return list(found)


async def correct(task: Task, rationale: str, snippets: list[str]) -> dict[str, Any]:
    """Return a rationale with the passages about it and its correction, unchanged if none were found."""
    if not snippets:
        task.warn("no_passage")
    edited = one_line((await task.ask("edit", sentence=rationale, snippets=snippets)).said) if snippets else ""
    return {"rationale": rationale, "knowledge": snippets, "edited": edited or rationale}


def rationales(chain: Exchange) -> list[str]:
    """Return the one or two rationales of a chain, its answer left out."""
    thoughts = _FIRST.sub("", before_cue(chain.text, chain.cue), count=1)
    return [one_line(part) for part in _SECOND.split(thoughts, maxsplit=1)]


def ends(task: Task) -> list[str]:
    """Return the end of rationales: the words before the answer."""
    return [cue] if (cue := task.cue("reason")) else []


def shown(task: Task) -> Sequence[Any]:
    """Return the demonstrations of chains: none where the user's own examples are shown."""
    return () if task.examples else task.demonstrations("reason")


def texts(corrected: Sequence[dict[str, Any]]) -> list[str]:
    return [correction["edited"] for correction in corrected]
