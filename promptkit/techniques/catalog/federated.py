"""Federated prompting: many wordings of one question vote, or many questions become each other's demonstrations."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from promptkit.answers.number import Number
from promptkit.answers.reader.numerals import word_numerals
from promptkit.techniques.artifacts import Prepared, Row
from promptkit.techniques.context import Answer
from promptkit.techniques.methods.pool import count_answers, draw_rows
from promptkit.techniques.methods.prepared import with_prepared_examples
from promptkit.techniques.parameters import Count, Tokens, Warmth
from promptkit.techniques.reading import before_cue
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

Variant = Literal["same", "different"]
PARAPHRASE_TOKENS = 128


async def prepare(
    task: Task,
    rows: Sequence[Row],
    *,
    pool: Count = 12,
    samples: Count = 3,
    temperature: Warmth = 0.7,
    seed: int = 0,
) -> Prepared:
    """Label each question of a pool by a vote over samples, with the thoughts of one that reached the winner.

    It is for `variant: different`. Expected answers are not read. `uncertain` are the questions whose samples do not
    agree, and those that give no demonstration.
    """

    async def label(row: Row) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return a question's demonstration, if there is one, and what a person should look at."""
        asked, given = task.on(row), dict(row.inputs)
        chains = await asked.sample("label", samples, temperature=temperature)
        answers = await asked.each(asked.decide, chains)
        winner = asked.vote(answers)
        thoughts = [before_cue(chain.text, chain.cue) for chain in chains]
        reached = [
            text
            for text, answer in zip(thoughts, answers, strict=True)
            if text and not answer.flag and not winner.flag and asked.vote_key(answer) == asked.vote_key(winner)
        ]
        counts = count_answers(asked, answers)
        if not reached:
            return [], [{"input": given, "problem": "no sample has thoughts and an answer", "answers": counts}]
        unsure = [{"input": given, "answers": counts}] if len(counts) > 1 else []
        return [{"input": given, "thoughts": reached[0], "output": winner.value}], unsure

    labelled = await task.each(label, draw_rows(rows, pool, seed=seed))
    return Prepared(
        items=[item for items, _ in labelled for item in items],
        uncertain=[item for _, unsure in labelled for item in unsure],
    )


@technique(
    roles=["question", "wordings?"],
    calls="phrasings - 1 + (2 if decide == 'generate' else 1) * phrasings if variant == 'same' else 1",
    requests="3 * phrasings - 1 if variant == 'same' else 1 + decided",
    prepare=prepare,
)
async def federated(
    task: Task,
    *,
    variant: Variant = "same",
    phrasings: Count = 5,
    temperature: Warmth = 0.7,
    shown: Count = 4,
    max_tokens: Tokens | None = None,
) -> Answer:
    """Vote over wordings of one question, or learn from questions like it (Liu et al. 2023).

    `same`: each wording is answered alone. They are the first `phrasings` of the input that plays `wordings`, else the
    question and paraphrases of it, sampled at `temperature`; one with other numbers than the question's is dropped.
    `different`: think as the `shown` prepared questions show that are most like this one but for their numbers; their
    answers are the model's and may be wrong. `max_tokens` bounds the thoughts, 256 where the step has no bound.
    """
    if variant == "different":
        like = with_prepared_examples(task, most_alike=shown)
        return await task.decide(await like.ask("answer", max_tokens=max_tokens))
    wordings = await wordings_of(task, phrasings, temperature)
    answers = await task.each(lambda wording: answer_one(task.replacing(question=wording), max_tokens), wordings)
    return task.vote(answers).with_extra(wordings=wordings)


async def wordings_of(task: Task, phrasings: int, temperature: float) -> list[str]:
    """Return different wordings of the question, those given or made; warn where no paraphrase was kept."""
    given = task.role("wordings")
    if given:
        return list(dict.fromkeys(text for wording in given if (text := str(wording).strip())))[:phrasings]
    question = str(task.role("question")).strip()
    if phrasings == 1:
        return [question]
    tokens = max(PARAPHRASE_TOKENS, len(question))  # A token has about four letters, in some scripts one.
    replies = await task.sample("paraphrase", phrasings - 1, temperature=temperature, max_tokens=tokens)
    kept = [text for reply in replies if not reply.cut and (text := restated(reply.text, question))]
    wordings = list(dict.fromkeys([question, *kept]))
    if len(wordings) == 1:
        task.warn("no_paraphrase")
    return wordings


def restated(reply: str, question: str) -> str:
    """Return the paraphrase in a reply: its first paragraphs that restate the question; empty where none do.

    They have the same numbers, a question mark where it has one, and at least half as many words. A paragraph that only
    announces the next is not among them.
    """
    paragraphs = [part.strip() for part in reply.split("\n\n")]
    paragraphs = [part for part in paragraphs if part and not part.endswith(":")]
    beginnings = ("\n\n".join(paragraphs[:count]) for count in range(1, len(paragraphs) + 1))
    return next((text for text in beginnings if restates(text, question)), "")


def restates(text: str, question: str) -> bool:
    """Tell whether a text may stand for a question."""
    asks = "?" in text or "?" not in question
    return asks and 2 * len(text.split()) >= len(question.split()) and numbers(text) == numbers(question)


async def answer_one(task: Task, max_tokens: int | None) -> Answer:
    """Think about one wording, and go on to its answer."""
    thoughts = await task.ask("reason", max_tokens=max_tokens)
    return await task.decide(await task.continue_("extract", thoughts))


def numbers(text: str) -> Counter[float]:
    """Return the numbers in a text, each as often as it stands there, in digits or as a word other than `one`."""
    worded = (numeral.value for numeral in word_numerals(text))
    return Counter(
        [*map(float, Number().mentions(text)), *(float(value) for value in worded if value not in (None, 1))]
    )
