"""Synthetic prompting: a few seed programs grow into many, and the most complex of each kind become demonstrations."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from random import Random
from typing import Annotated, Any

from pydantic import Field

from promptkit.errors import InputError
from promptkit.techniques.artifacts import Prepared, Row
from promptkit.techniques.catalog.pal import run
from promptkit.techniques.context import Answer
from promptkit.techniques.methods.attempts import importable_modules, read_program
from promptkit.techniques.methods.pool import clusters, count_answers
from promptkit.techniques.methods.prepared import prepared_items
from promptkit.techniques.parameters import Count, Warmth
from promptkit.techniques.reading import filled_lines
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

ENTRY = "def solution"
Example = Mapping[str, Any]


async def prepare(
    task: Task,
    rows: Sequence[Row],
    *,
    rounds: Count = 30,
    chosen: Count = 4,
    samples: Count = 3,
    temperature: Warmth = 0.7,
    extra_lines: Annotated[int, Field(ge=0, le=20)] = 2,
    topics: list[str] | None = None,
    words: Count = 50,
    word_calls: Count = 4,
    seed: int = 0,
) -> Prepared:
    """Make `rounds` questions with programs from the demonstrations of `program`, and keep `chosen` of them.

    In a round the model writes a program about a topic and a question for it; `samples` new programs for the question
    must agree by more than half, and the shortest of these stays. `topics` are given, or nouns asked for until there
    are `words` of them. The rows only fill what else the prompt takes. `uncertain` are the questions left out.
    """
    draw, seeds = Random(seed), task.demonstrations("program")
    if not seeds:
        raise InputError("there is no demonstration of `program` to start from")
    names = (
        topics or await collect_words(task, words, word_calls, temperature) or [example["topic"] for example in seeds]
    )
    lengths = [len(steps(example["output"])) for example in seeds]
    made: list[Example] = []
    left_out: list[Example] = []
    asked = {str(example["input"]).casefold() for example in seeds}
    for number in range(rounds):
        topic, lines = draw.choice(names), draw.randint(min(lengths), max(lengths) + extra_lines)
        shown = [show(example) for example in draw.sample([*seeds, *made], len(seeds))]
        reply = await task.ask(
            "question", sample=number, temperature=temperature, shown=shown, topic=topic, lines=lines
        )
        question = reply.text.partition("Question:")[2].strip().partition("\n")[0]
        found: Example = {"problem": fault(question, topic, asked)}
        if not found["problem"]:
            asked.add(question.casefold())
            found = await solve(task, question, samples, temperature)
        if "output" in found:
            made.append({"input": question, "topic": topic, **found})
        else:
            left_out.append({"question": question, **found})
    vectors = await task.embed([example["input"] for example in made]) if made else []
    groups = [[made[at] for at in sorted(members)] for members in clusters(vectors, chosen, seed=seed)]
    longest = [max(group, key=lambda example: len(steps(example["output"]))) for group in groups]
    return Prepared(items=longest, uncertain=left_out)


async def collect_words(task: Task, count: int, most_calls: int, temperature: float) -> list[str]:
    """Return different nouns, each one word, asked for until there are enough or the calls are used up."""
    found: dict[str, None] = {}
    for number in range(most_calls):
        reply = await task.ask("words", sample=number, temperature=temperature, some=list(found)[-10:])
        named = (word.lower() for word in reply.value or ())
        found |= dict.fromkeys(word for word in named if word.isalpha())
        if len(found) >= count:
            break
    return list(found)[:count]


async def solve(task: Task, question: str, samples: int, temperature: float) -> Example:
    """Return the shortest program of those whose value more than half have, or why there is none."""
    modules = await importable_modules(task)
    written = await task.sample(
        "program", samples, temperature=temperature, replace={"question": question}, modules=modules
    )
    answers = await task.each(partial(run, task, chooses=False), written)
    keys = [None if answer.flag else task.vote_key(answer) for answer in answers]
    agreeing = [
        read_program(exchange)
        for exchange, key in zip(written, keys, strict=True)
        if key is not None and 2 * keys.count(key) > samples
    ]
    if not agreeing:
        return {
            "problem": "no answer is that of more than half of the programs",
            "answers": count_answers(task, answers),
        }
    return {"output": min(agreeing, key=lambda program: len(steps(program)))}


def steps(program: str) -> list[str]:
    """Return the lines of a program's function, without its head and blank ones."""
    return [line for line in filled_lines(program) if not line.startswith(ENTRY)]


def show(example: Example) -> Example:
    """Return an example as the call that writes questions shows it."""
    return {"topic": example["topic"], "lines": steps(example["output"]), "question": example["input"]}


def fault(question: str, topic: str, asked: Collection[str]) -> str:
    """Return the reason why a question is not taken; empty where it is."""
    words = re.findall(r"\w+", question.casefold())
    runs = [tuple(words[at : at + 5]) for at in range(len(words) - 4)]
    if not words:
        return "the reply holds no question"
    if question.casefold() in asked:
        return "the question is there already"
    if len(set(runs)) < len(runs):
        return "the question repeats itself"
    if not re.search(rf"\b{re.escape(topic)}", question, re.IGNORECASE):
        return f"the question is not about `{topic}`"
    return ""


@technique(needs={"rows", "sandbox", "sampling"}, roles=["question"], prepare=prepare)
async def synthetic_prompting(task: Task) -> Answer:
    """Write a program as demonstrations show that the model made itself, and run it (Shao et al. 2023)."""
    demos, modules = prepared_items(task, "input", "output"), await importable_modules(task)
    return await run(task, await task.ask("program", demos=demos, modules=modules), chooses=False)
