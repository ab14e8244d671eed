"""Maieutic prompting: explanations of both sides, and the truth values under which most of them hold together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Annotated, Any, Final

from pydantic import Field

from promptkit.answers.reader.verdicts import verdict
from promptkit.errors import InputError, Unsupported, nearest
from promptkit.techniques.context import Answer
from promptkit.techniques.methods.max_sat import Clause, satisfy
from promptkit.techniques.parameters import Count, Warmth
from promptkit.techniques.reading import first_line, last_named
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

LABELS: Final = ("true", "false")
RELATIONS: Final = {"entails": 1, "entailment": 1, "contradicts": -1, "contradiction": -1, "neutral": 0}
TRIES: Final = 2

_EXPLANATIONS: Final = "(2 * width * ((2 * deeper_width) ** depth - 1) / (2 * deeper_width - 1))"
_CALLS: Final = (
    f"3 + 5 * {_EXPLANATIONS} + (0 if nli else {_EXPLANATIONS} ** 2 + {_EXPLANATIONS})"
    " + (0 if answer == 'boolean' else 1)"
)


@technique(needs={"sampling"}, roles=["question"], calls=_CALLS, requests=_CALLS)
async def maieutic(
    task: Task,
    *,
    depth: Annotated[int, Field(ge=1, le=5)] = 2,
    width: Count = 2,
    deeper_width: Count = 1,
    temperature: Warmth = 1.0,
    deeper_temperature: Warmth = 0.5,
    integrity: Annotated[float, Field(ge=0, le=1)] = 0.45,
    samples: Count = 5,
    nli: str | None = None,
) -> Answer:
    """Settle whether a statement is true by the explanations that hold together (Jung et al. 2022).

    `width` explanations a side are written for the statement, `deeper_width` for what explains it. A statement is
    settled where the beliefs in it and in its negation differ by more than `integrity`. Without log-probabilities a
    belief is the share of "true" in `samples`. `nli` names a tool of the step that takes `premise` and `hypothesis`
    and returns `entails`, `contradicts` or `neutral`; without one the model is asked. Where the words of two labels do
    not tell which of them a true statement gets, the model is asked for that too. Raises InputError where the answer is
    not one of two, or there is no such tool.
    """
    if len(task.answer_type.alternatives()) != len(LABELS):
        raise InputError("technique `maieutic` says true or false: `answer` must be a boolean, or one of two labels")
    if nli is not None and nli not in task.tools:
        raise InputError(f"the step has no tool `{nli}`", hint=nearest(nli, task.tools))
    labels = await labels_of(task)
    if labels is None:
        return task.no_answer("the model does not say which label a true statement gets")
    garden = Garden(
        task=task,
        depth=depth,
        widths=(width, deeper_width),
        temperatures=(temperature, deeper_temperature),
        integrity=integrity,
        samples=samples,
        scored=await task.can("logprobs") and await task.can("continue"),
    )
    root = await garden.grow(str(task.role("question")), 0)
    kept = list(kept_below(root))
    if not kept:
        if not root.settled:
            task.warn("all_pruned")
        return by_belief(task, root, labels).with_extra(beliefs=[root.belief, root.doubt], explanations=[])
    judge = Judge(task, nli)
    values = await judge.assign(kept)
    score = sum(await task.each(lambda node: judge.support(node, root), kept_true(kept, values)))
    explanations = [{"statement": node.side, "true": value} for node, value in zip(kept, values, strict=True)]
    if not score:
        task.warn("tie")
    return task.parse(labels[score < 0]).with_extra(
        beliefs=[root.belief, root.doubt], explanations=explanations, score=score
    )


async def labels_of(task: Task) -> tuple[str, str] | None:
    """Return the labels of true and of false statements, by their words or as the model says; None if it does not."""
    first, second = task.answer_type.alternatives()
    means = verdict(first), verdict(second)
    if means[0] == means[1]:
        true_label = (await task.ask("true_label", labels=[first, second])).value
        if true_label is None:
            return None
        means = true_label == first, true_label == second
    return (second, first) if means[0] is False or means[1] is True else (first, second)


@dataclass(frozen=True, slots=True)
class Node:
    """A statement with its negation, the belief in each (None where it could not be told), and what explains it."""

    statement: str
    negation: str
    belief: float | None
    doubt: float | None
    settled: bool
    children: tuple[Node, ...] = ()

    @property
    def side(self) -> str:
        """The side that the model believes more: the statement or its negation."""
        if self.belief is None or self.doubt is None or self.belief >= self.doubt:
            return self.statement
        return self.negation

    @property
    def weight(self) -> float:
        """The difference between the beliefs in the two sides."""
        belief, doubt = self.belief or 0.0, self.doubt or 0.0
        return abs(belief - doubt) / (belief + doubt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Garden:
    """Grows trees of explanations; `widths` and `temperatures` are those of the first level and of the others."""

    task: Task
    depth: int
    widths: tuple[int, int]
    temperatures: tuple[float, float]
    integrity: float
    samples: int
    scored: bool

    async def grow(self, statement: str, level: int) -> Node:
        """Return a statement with its beliefs and, where they do not settle it, the explanations of both sides."""
        negation = first_line((await self.task.ask("negate", temperature=0.0, statement=statement)).said)
        belief, doubt = await self.task.each(self._belief, [statement, negation])
        settled = belief is not None and doubt is not None and abs(belief - doubt) > self.integrity
        node = Node(statement, negation, belief, doubt, settled)
        if settled or level == self.depth:
            return node
        sides = await self.task.each(lambda label: self._explain(statement, label, level), LABELS)
        children = await self.task.each(
            lambda explanation: self.grow(explanation, level + 1), distinct([*sides[0], *sides[1]])
        )
        return replace(node, children=tuple(children))

    async def _belief(self, statement: str) -> float | None:
        """Return the probability that a statement is called true; None if it is called neither true nor false."""
        if not statement:
            return None
        if self.scored:
            try:
                return math.exp((await self.task.logprob("belief", LABELS, statement=statement))[0])
            except Unsupported:  # A reply without a token has no log-probability either.
                return None
        replies = await self.task.sample("belief", self.samples, temperature=1.0, statement=statement)
        beliefs = [reply.value for reply in replies]
        return beliefs.count(True) / len(beliefs) if set(beliefs) - {None} else None

    async def _explain(self, statement: str, label: str, level: int) -> list[str]:
        """Return the finished explanations of a side; what is missing is asked for once more."""
        width, temperature = self.widths[min(level, 1)], self.temperatures[min(level, 1)]
        found: list[str] = []
        asked = 0
        for _ in range(TRIES):
            numbers = range(asked, asked + width - len(found))
            asked = numbers.stop
            replies = await self.task.each(
                lambda number: self.task.ask(
                    "explain", sample=number, temperature=temperature, statement=statement, label=label
                ),
                numbers,
            )
            found = distinct([*found, *(read_explanation(first_line(reply.said)) for reply in replies)], but=statement)
        return found


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges pairs of statements for entailment and contradiction: by a tool, else by asking the model."""

    task: Task
    nli: str | None

    async def relate(self, premise: str, hypothesis: str) -> int:
        """Return 1 where the premise entails the hypothesis, -1 where it contradicts it, else 0."""
        if not (premise and hypothesis):
            return 0
        pair: dict[str, Any] = {"premise": premise, "hypothesis": hypothesis}
        if self.nli is not None:
            reply = str(await self.task.tool(self.nli, pair))
        else:
            reply = (await self.task.ask("relate", temperature=0.0, **pair)).value or ""
        return RELATIONS[last_named(reply, tuple(RELATIONS)) or "neutral"]

    async def assign(self, nodes: Sequence[Node]) -> tuple[bool, ...]:
        """Return the nodes that are true under the assignment that satisfies most beliefs, entailments and
        contradictions.
        """
        clauses = [Clause((number,), node.weight) for number, node in enumerate(nodes, start=1) if node.settled]
        pairs = list(permutations(range(1, len(nodes) + 1), 2))
        relations = await self.task.each(
            lambda pair: self.relate(nodes[pair[0] - 1].side, nodes[pair[1] - 1].side), pairs
        )
        for (first, second), relation in zip(pairs, relations, strict=True):
            if relation:
                clauses.append(Clause((-first, relation * second)))
        return satisfy(len(nodes), clauses)

    async def support(self, node: Node, root: Node) -> int:
        """Return 1 where a true node speaks for the root's statement, -1 where it speaks against it, else 0."""
        relations = await self.task.each(lambda side: self.relate(node.side, side), [root.statement, root.negation])
        return max(-1, min(1, relations[0] - relations[1]))


def kept_below(node: Node) -> Iterator[Node]:
    """Yield the nodes below one that are settled, or have a settled one below them."""
    for child in node.children:
        below = list(kept_below(child))
        if child.settled or below:
            yield child
            yield from below


def kept_true(nodes: Sequence[Node], values: Sequence[bool]) -> list[Node]:
    return [node for node, value in zip(nodes, values, strict=True) if value]


def by_belief(task: Task, root: Node, labels: tuple[str, str]) -> Answer:
    """Return the answer by the beliefs in the statement alone."""
    if root.belief is None and root.doubt is None:
        return task.no_answer("the model calls the statement neither true nor false")
    belief = root.belief if root.belief is not None else 1 - (root.doubt or 0.0)
    doubt = root.doubt if root.doubt is not None else 1 - belief
    return task.parse(labels[belief < doubt])


def read_explanation(text: str) -> str:
    """Return an explanation as a statement of its own, an empty text where it is not finished."""
    text = text.strip()
    return text[:1].upper() + text[1:] if text.endswith(".") else ""


def distinct(texts: Sequence[str], but: str = "") -> list[str]:
    """Return the texts that are not blank, each once in any case, without one that says no more than `but`."""
    first: dict[str, Any] = {}
    for text in texts:
        first.setdefault(text.casefold(), text)
    return [text for key, text in first.items() if key and key != but.casefold()]
