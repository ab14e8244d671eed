"""What a variant is called, and what it shares with the others."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from promptkit.evaluation.cells.saver import ReplyCache
from promptkit.evaluation.evaluate import Evaluation
from promptkit.evaluation.suite.suite import expand_variants
from promptkit.runtimes.base import Request
from promptkit.runtimes.client import Client
from promptkit.runtimes.models import Models
from promptkit.runtimes.scripted import Scripted
from promptkit.storage.store import Store
from tests.engine.helpers import Folder, said
from tests.evaluation.suites import PROMPT, SUITE, Bench, echo, moods

TWO = """
name: two
inputs: {text: {example: fine}}
steps:
  first: {prompt: said}
  second: {prompt: mood, with: {text: "{{ text }} again {{ first }}"}}
"""
RECORDED = SUITE.replace("target: mood", "target: {pipeline: two, step: second, feed: recorded}")
LONG = "Say, in one word and nothing else, whether "


@pytest.fixture
def bench(folder: Folder) -> Bench:
    folder.write("pipelines/two.yaml", TWO)
    folder.write("templates/prompts/said.j2", PROMPT.replace("{label: [good, bad]}", "text"))
    return Bench(folder, moods(6))


def names(named: dict[str, dict[str, Any]], matrix: dict[str, list[Any]]) -> list[str]:
    return [name for name, _ in expand_variants(named, matrix)]


def test_values_that_are_shown_alike_have_a_number() -> None:
    assert names({}, {"mood.cue": [f"{LONG}it is good.", f"{LONG}it is bad.", "x"]}) == [
        f"cue={LONG[:39]}…",
        f"cue={LONG[:39]}… #2",
        "cue=x",
    ]
    assert names({}, {"mood.cue": ["true", True, 1, "1"]}) == ["cue=true", "cue=true #2", "cue=1", "cue=1 #2"]


def test_a_named_variant_and_one_of_the_matrix_never_share_a_name() -> None:
    assert names({"a": {}, "a layout=xml": {}}, {"mood.layout": ["xml", "xml"]}) == [
        "a layout=xml",
        "a layout=xml #2",
        "a layout=xml layout=xml",
        "a layout=xml layout=xml #2",
    ]


@pytest.mark.parametrize("matrix", [["x", "x #2", "x"], ["x", "x", "x #2"]], ids=str)
def test_a_name_that_ends_in_a_number_is_not_taken_twice(matrix: list[str]) -> None:
    found = names({}, {"mood.cue": matrix})

    assert len(set(found)) == 3


async def test_variants_that_are_shown_alike_have_cells_of_their_own(bench: Bench) -> None:
    suite = SUITE + f'matrix: {{mood.cue: ["{LONG}it is good:", "{LONG}it is bad:"]}}\n'

    ran = await bench.run(suite, lambda each: "good" if "it is good:" in said(each) else "bad")

    first, second = (each["name"] for each in ran.record["variants"])
    assert [cell.output for cell in ran.view.cells(first)] == ["good"] * 6
    assert [cell.output for cell in ran.view.cells(second)] == ["bad"] * 6
    assert (ran.metric(variant=first)["mean"], ran.metric(variant=second)["mean"]) == (0, 1)


async def test_what_is_recorded_before_the_measured_step_is_the_same_for_all_variants(bench: Bench) -> None:
    answers = 0

    def script(request: Request) -> str:
        nonlocal answers
        if "again" in request.messages[-1].content:
            return "bad"
        answers += 1
        return f"answer {answers}"

    ran = await bench.run(RECORDED + "variants: {a: {}, b: {second.layout: prefix}, c: {second.cue: X}}\n", script)

    firsts = defaultdict(set)
    for cell in ran.view.cells():
        firsts[cell.row].add(cell.steps["first"])
    assert answers == 6
    assert all(len(each) == 1 for each in firsts.values())


async def test_the_model_of_a_variant_answers_the_measured_step_alone_where_those_before_it_are_recorded(
    bench: Bench,
) -> None:
    suite = bench.suite(RECORDED + "variants: {a: {}, b: {model: 'scripted:other.yaml'}}\n")
    usual, other = Scripted(echo), Scripted(echo)

    with Store.open(bench.store_folder) as store, ReplyCache(store) as replies:
        models = Two(Client(usual, store=replies), Client(other, store=replies))
        await Evaluation(suite, models=models, store=store).run()

    assert len(other.requests) == 6
    assert all("again" in request.messages[-1].content for request in other.requests)
    assert len(usual.requests) == 12


class Two(Models):
    """The usual model, and one for who names another."""

    def __init__(self, usual: Client, other: Client) -> None:
        super().__init__("scripted:given.yaml")
        self._both = usual, other

    async def get(self, reference: str | None = None) -> Client:
        return self._both[(reference or "").endswith("/evals/other.yaml")]
