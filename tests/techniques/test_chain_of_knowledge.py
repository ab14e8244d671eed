"""`chain_of_knowledge` (Li et al. 2024): only where samples disagree are their rationales looked up and corrected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import Unsupported
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from promptkit.techniques.task import Task
from promptkit.tools.search import Passage
from tests.techniques.steps import ALL, MARKED, Bench, flat, in_order, marked_example, without

CHAINS = [
    "First, A was BAD1. Second, B was BAD2. The answer is x",
    "First, A. Second, B. The answer is y",
    "First, A. Second, B. The answer is z",
    "First, A. Second, B. The answer is u",
    "First, A. Second, B. The answer is v",
]
ASKS = (
    "---\ninputs: {question: {type: text}, sources: {type: list}}\n---\n{% block input %}{{ question }}{% endblock %}\n"
)


class Chains(Bench):
    """A bench that answers by the kind of call, and whose documents say one thing to each query."""

    def __init__(self, folder: Path, chains: list[str], *, prompt: str = ASKS, **replies: Any) -> None:
        self.replies: dict[str, list[str]] = {
            "domain": ["factual"],
            "edit": ["A was GOOD1.", "B was GOOD2."],
            "next": [" B depends GOOD1b. The answer is q"],
            "final": [" y"],
            "query": [],
            "decided": [],
            **replies,
        }
        self.chains = chains
        self.queries: list[str] = []
        self.found = [Passage("fact ZEBRA7", "1")]
        super().__init__(folder, self.script, "text", prompt=prompt)

    def script(self, request: Any) -> str:
        if request.begun.startswith("Domains:"):
            return self.replies["domain"].pop(0)
        if request.begun.startswith("Edited sentence:"):
            return self.replies["edit"].pop(0)
        if request.begun.startswith("Query:"):
            return self.replies["query"].pop(0)
        if request.begun.endswith("Second,"):
            return self.replies["next"].pop(0)
        if "/" not in request.sample:
            return self.replies["final"].pop(0)
        number = int(request.sample.rpartition("/")[2])
        return self.replies["decided"][number] if request.begun else self.chains[number]

    async def ask(
        self, monkeypatch: pytest.MonkeyPatch, *, decide: Any = "generate", examples: Any = (), **parameters: Any
    ) -> Any:
        async def retrieve(task: Task, query: str, count: int = 3) -> list[Passage]:
            self.queries.append(query)
            return self.found

        monkeypatch.setattr(Task, "retrieve", retrieve)
        values = {"question": "QUESTION-MARK?", "sources": ["any"]}
        step = self.step(decide=decide, values=values, examples=examples)
        return await perform({"chain_of_knowledge": {"documents": "sources", **parameters}}, step)

    def of(self, call: str) -> list[str]:
        return [flat(record.request) for record in self.records if record.call == call]


async def test_where_half_agree_nothing_is_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [1991, 1990, 1991, 1990, 1991]
    bench = Chains(tmp_path, [f"First, A. Second, B. The answer is {answer}" for answer in answers])

    answer = await bench.ask(monkeypatch)

    assert (answer.value, len(bench.texts), bench.queries) == ("1991", 6, [])


async def test_rationales_are_corrected_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Chains(tmp_path, CHAINS)

    answer = await bench.ask(monkeypatch)

    first, second = bench.of("edit")
    (going_on,), (final,) = bench.of("next"), bench.of("final")
    assert (answer.value, len(bench.texts)) == ("y", 10)
    assert "BAD1" in first and "ZEBRA7" in first and "BAD2" not in first
    assert "GOOD1" in going_on and "BAD" not in going_on
    assert "GOOD1b" in second and "BAD2" not in second and "The answer is q" not in second
    assert final.endswith("First, A was GOOD1. Second, B was GOOD2.\nThe answer is") and "BAD" not in final
    assert bench.queries == ["A was BAD1.", "B depends GOOD1b."]
    most = cost(configure("chain_of_knowledge", bench.project), bench.project, decide="generate")
    assert (most.calls, most.requests, most.depth) == (10, 10, 5)


async def test_a_first_rationale_that_is_said_again_is_no_part_of_the_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Chains(tmp_path, CHAINS, next=["First, A was BAD1. Second, B depends GOOD1b."])

    answer = await bench.ask(monkeypatch)

    assert answer.extra["rationales"][1]["rationale"] == "B depends GOOD1b."
    assert "BAD1" not in bench.of("edit")[1]


async def test_the_domains_and_the_samples_may_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Chains(tmp_path, CHAINS)

    await bench.ask(monkeypatch)

    levels = {call: sorted({level for name, level in bench.levels if name == call}) for call, _ in bench.levels}
    assert levels == {"domain": [1], "reason": [1], "edit": [2, 4], "next": [3], "final": [5]}


async def test_what_nothing_is_found_about_stays_and_is_not_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Chains(tmp_path, CHAINS)
    bench.found = []

    answer = await bench.ask(monkeypatch)

    assert (answer.value, len(bench.texts)) == ("y", 8)
    assert bench.of("final")[0].endswith("First, A was BAD1. Second, B depends GOOD1b.\nThe answer is")
    assert bench.warned == ["no_passage"] * 2


async def test_samples_without_an_answer_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chains = ["", "First, A. Second, B. The answer is x", "", "", "First, A. Second, B. The answer is x"]
    bench = Chains(tmp_path, chains)

    answer = await bench.ask(monkeypatch)

    assert (answer.value, len(bench.texts), answer.extra["unparsed"]) == ("x", 6, 3)


async def test_a_chain_of_one_rationale_has_no_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Chains(tmp_path, ["A was BAD1. The answer is x", *CHAINS[1:]])

    answer = await bench.ask(monkeypatch)

    assert (answer.value, len(bench.texts)) == ("y", 8)
    assert bench.of("final")[0].endswith("First, A was GOOD1.\nThe answer is")


async def test_under_constrain_each_sample_is_decided_after_its_rationales(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Chains(tmp_path, CHAINS, decided=[" x", " y", " z", " u", " v"])
    most = cost(configure("chain_of_knowledge", bench.project), bench.project, decide="constrain")

    answer = await bench.ask(monkeypatch, decide="constrain")

    decided = [request for request in bench.runtime.requests if request.begun and "/" in request.sample]
    assert answer.value == "y"
    assert len(bench.texts) == most.requests == 15
    assert "First, A was BAD1. Second, B was BAD2.\nThe answer is" in [request.begun for request in decided]


async def test_queries_may_be_written_for_each_domain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Chains(tmp_path, CHAINS, domain=["medical, Factual, medical"], query=["q1", "q2", "q3", "q4"])

    answer = await bench.ask(monkeypatch, write_queries=True)

    assert answer.extra["domains"] == ["medical", "factual"]
    assert sorted(bench.queries) == ["q1", "q2", "q3", "q4"]
    assert len(bench.texts) == 10 + 4


@pytest.mark.parametrize("reply", ["alchemy", "none", ""])
async def test_a_question_of_no_known_domain_is_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reply: str
) -> None:
    bench = Chains(tmp_path, CHAINS, domain=[reply])

    assert (await bench.ask(monkeypatch)).extra["domains"] == ["factual"]


async def test_documents_of_other_domains_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Chains(tmp_path, CHAINS)
    bench.found = [Passage("YAK1", "medical/a.md"), Passage("YAK2", "factual/b.md"), Passage("YAK3", "c.md")]

    await bench.ask(monkeypatch)

    assert all("YAK1" not in text and "YAK2" in text and "YAK3" in text for text in bench.of("edit"))


async def test_it_needs_documents(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [])

    with pytest.raises(Unsupported, match="needs documents"):
        await perform("chain_of_knowledge", bench.step())


async def test_it_needs_sampling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, [], capabilities=without("sampling"))

    with pytest.raises(Unsupported, match="sampling"):
        await perform("chain_of_knowledge", bench.step())


async def test_each_call_shows_and_hides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = MARKED.replace("question: {type: text}", "question: {type: text}, sources: {type: list}")
    chains = [chain.replace("The answer is", "CUE-MARK:") for chain in CHAINS]
    bench = Chains(tmp_path, chains, prompt=prompt, query=["q1", "q2"])

    await bench.ask(monkeypatch, examples=(marked_example("two"),), write_queries=True)

    assert dict(bench.shown) == {
        "domain": "persona instructions constraints context output_format input",
        "reason": ALL,
        "query": "persona",
        "edit": "persona",
        "next": "persona instructions constraints context output_format examples input",
        "final": ALL,
    }


async def test_the_last_call_shows_the_demonstrations_with_their_rationales(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Chains(tmp_path, CHAINS)

    await bench.ask(monkeypatch)

    assert in_order(bench.of("final")[0], ["Second, Mozart was born in Salzburg", "The answer is Austria"])
