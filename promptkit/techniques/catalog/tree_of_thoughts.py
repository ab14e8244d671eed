"""Tree of thoughts: a search over partial solutions that the model proposes and judges."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from promptkit.errors import InputError
from promptkit.techniques.context import Answer, Exchange
from promptkit.techniques.parameters import Count, Temperature
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

CLASSES: Final = {"sure": 20.0, "likely": 1.0, "impossible": 0.001}
UNCLEAR: Final = "likely"
CONFIDENCES: Final = {"certain": 1.0, "high": 0.5, "medium": 0.2, "low": 0.1}

Path = tuple[str, ...]

_HEAD: Final = re.compile(r"^(?:step\s*\d+\s*[:.)]\s*)+", re.IGNORECASE)
_CONFIDENCE: Final = re.compile(rf"(?:(?<!\s)\s+)?[(\[]\s*({'|'.join(CONFIDENCES)})\s*[)\]]\s*\Z", re.IGNORECASE)

_CALLS: Final = (
    "(1 + (depth - 1) * breadth if variant == 'bfs' else nodes)"
    " * ((candidates if generate == 'sample' else proposals)"
    " + evaluations * (candidates if variant == 'bfs' and evaluate == 'value' else 1)) + (1 if final else 0)"
)


@technique(needs={"sampling"}, roles=["question"], calls=_CALLS, requests=_CALLS)
async def tree_of_thoughts(
    task: Task,
    *,
    variant: Literal["bfs", "dfs"] = "bfs",
    generate: Literal["propose", "sample"] = "propose",
    evaluate: Literal["value", "vote"] = "value",
    final: bool = True,
    depth: Count = 3,
    breadth: Count = 2,
    candidates: Count = 3,
    proposals: Count = 1,
    evaluations: Count = 1,
    nodes: Count = 20,
    threshold: float = CLASSES["impossible"],
    temperature: Temperature = 0.7,
    evaluation_temperature: Temperature = 0.0,
) -> Answer:
    """Search the tree of steps for the best path, and answer from it (Yao et al. 2023).

    A state has at most `candidates` successors, listed by `proposals` calls or each written by one. It is judged by
    `evaluations` calls, several of which need an `evaluation_temperature` above 0. `breadth` bounds the states of a
    level in a breadth-first search; `nodes` the states judged, and `threshold` those worth going on from, in a
    depth-first one. Without `final` the last step is the answer.

    Raises InputError for several evaluations at a temperature of 0, which would all be the same.
    """
    if evaluations > 1 and not evaluation_temperature:
        raise InputError(
            "technique `tree_of_thoughts`: several `evaluations` at an `evaluation_temperature` of 0 would be the same",
            hint="set `evaluation_temperature` above 0, such as 0.7",
        )
    tree = Tree(
        task=task,
        generate=generate,
        evaluate=evaluate,
        depth=depth,
        candidates=candidates,
        proposals=proposals,
        evaluations=evaluations,
        temperature=temperature,
        evaluation_temperature=evaluation_temperature,
        confidence=variant == "dfs",
    )
    if variant == "bfs":
        best, capped = await breadth_first(tree, breadth), False
    else:
        best, capped = await depth_first(tree, nodes, threshold)
    if final:
        answer = await task.decide(await task.ask("answer", path=best.path))
    else:
        answer = task.parse(best.path[-1]) if best.path else task.no_answer("the search found no step")
    answer = answer.with_extra(path=list(best.path), score=best.score)
    return answer.with_extra(capped=True) if capped else answer


@dataclass(frozen=True, slots=True)
class State:
    """The steps so far, and how they were judged; the root, which has none, is not judged."""

    path: Path = ()
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Expands and judges states."""

    task: Task
    generate: str
    evaluate: str
    depth: int
    candidates: int
    proposals: int
    evaluations: int
    temperature: float
    evaluation_temperature: float
    confidence: bool

    async def expand(self, state: State) -> list[State]:
        """Return the states one step on, those named most often or most surely first, each once."""
        if self.generate == "sample":
            written = await self.task.sample(
                "sample", self.candidates, temperature=self.temperature, path=state.path, steps=self.depth
            )
            steps = [(_HEAD.sub("", reply.said), 1.0) for reply in written]
        else:
            listed = await self.task.sample(
                "propose",
                self.proposals,
                temperature=self.temperature,
                path=state.path,
                most=self.candidates,
                confidence=self.confidence,
            )
            steps = [read_step(line) for reply in listed for line in reply.value or []]
        return [State((*state.path, step)) for step in heaviest(steps)[: self.candidates]]

    async def judge(self, states: Sequence[State]) -> list[State]:
        """Return the states with their scores: the votes of each among all, or the mean value of each by itself."""
        if self.evaluate == "vote" and states:
            replies = await self._evaluate("vote", candidates=[state.path for state in states])
            votes = Counter(reply.value for reply in replies)
            return [replace(state, score=float(votes[number])) for number, state in enumerate(states, start=1)]
        return await self.task.each(self._value, states)

    async def _value(self, state: State) -> State:
        replies = await self._evaluate("value", path=state.path)
        values = [CLASSES[reply.value or UNCLEAR] for reply in replies]
        return replace(state, score=sum(values) / len(values))

    async def _evaluate(self, call: str, **values: Any) -> list[Exchange]:
        """Return the replies of the evaluations. A single one keeps its temperature in a sampled search too."""
        if self.evaluations == 1:
            return [await self.task.ask(call, temperature=self.evaluation_temperature, **values)]
        return await self.task.sample(call, self.evaluations, temperature=self.evaluation_temperature, **values)


async def breadth_first(tree: Tree, breadth: int) -> State:
    """Return the best state of the last level that has one."""
    kept = [State()]
    for _ in range(tree.depth):
        grown = await tree.task.each(tree.expand, kept)
        states = await tree.judge([state for states in grown for state in states])
        if not states:
            tree.task.warn("no_step")
            break
        ranked = sorted(states, key=_score, reverse=True)
        kept = ranked[:breadth]
        if tree.evaluate == "vote" and len(ranked) > breadth and ranked[breadth].score == kept[-1].score:
            tree.task.warn("tie")
    return kept[0]


async def depth_first(tree: Tree, nodes: int, threshold: float) -> tuple[State, bool]:
    """Return the first state of full depth that is not pruned, else the deepest, and whether the budget ended it."""
    best = State()
    stack = [best]
    judged, pruned = 0, False
    while stack:
        state = stack.pop()
        if state.path and state.score is None:
            if judged == nodes:
                return best, True
            judged += 1
            [state] = await tree.judge([state])
        if state.path and _score(state) <= threshold:
            pruned = True
            continue
        best = max(best, state, key=lambda candidate: (len(candidate.path), _score(candidate)))
        if len(state.path) == tree.depth:
            return state, False
        if judged == nodes:
            return best, True
        grown = await tree.expand(state)
        if tree.evaluate == "vote":
            grown = sorted(await tree.judge(grown[: nodes - judged]), key=_score, reverse=True)
            judged += len(grown)
        stack.extend(reversed(grown))
    tree.task.warn("all_pruned" if pruned else "no_step")
    return best, False


def heaviest(steps: Iterable[tuple[str, float]]) -> list[str]:
    """Return the steps by the sum of their weights, those that differ only in case and blanks as one."""
    weights: dict[str, float] = {}
    first: dict[str, str] = {}
    for step, weight in steps:
        key = " ".join(step.casefold().split())
        if key:
            weights[key] = weights.get(key, 0.0) + weight
            first.setdefault(key, step)
    return [first[key] for key in sorted(first, key=lambda key: weights[key], reverse=True)]


def read_step(line: str) -> tuple[str, float]:
    """Return a listed step without its number, and the weight of the confidence behind it, low where there is none."""
    found = _CONFIDENCE.search(line)
    weight = CONFIDENCES[found[1].lower() if found else "low"]
    return _HEAD.sub("", line[: found.start()] if found else line).strip(), weight


def _score(state: State) -> float:
    return state.score or 0.0
