"""Variants that sent the same requests are found by the requests, whichever of them they are compared with."""

from __future__ import annotations

import pytest

from promptkit.evaluation.same_requests import FIRST_CELLS, same_requests
from promptkit.runtimes.base import Request
from tests.engine.helpers import Folder
from tests.evaluation.suites import SUITE, Bench, Ran, moods, number_of

SETS = "{plain: {}, marked: {mood.layout: prefix}, idle: {mood.decide: generate}, marked_too: {mood.layout: prefix}}"


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder, moods(FIRST_CELLS + 2))


def twins(ran: Ran) -> dict[str, str | None]:
    return {variant["name"]: variant.get("same_as") for variant in ran.record["variants"]}


async def test_a_variant_names_the_first_before_it_that_sent_the_same_requests(bench: Bench) -> None:
    ran = await bench.run(f"{SUITE}variants: {SETS}\n")
    assert twins(ran) == {"plain": None, "marked": None, "idle": "plain", "marked_too": "marked"}
    same = {found["a"]: found["same_requests"] for found in ran.record["comparisons"]}
    assert same == {"marked": False, "idle": True, "marked_too": False}


async def test_requests_that_differ_only_in_a_later_row_are_not_the_same(bench: Bench) -> None:
    layout = "{% if '5' in text %}Answer well.{% endif %}"
    prompt = (bench.folder.root / "templates/prompts/mood.j2").read_text()
    bench.folder.write("templates/prompts/other.j2", prompt.replace("{{ text }}", "{{ text }}" + layout))
    ran = await bench.run(f"{SUITE}variants: {{plain: {{}}, other: {{mood.prompt: other}}}}\n")
    assert twins(ran) == {"plain": None, "other": None}


async def test_variants_without_any_answer_are_not_the_same(bench: Bench) -> None:
    def fail(request: Request) -> Exception:
        return ValueError(number_of(request))

    ran = await bench.run(f"{SUITE}variants: {{a: {{}}, b: {{mood.layout: prefix}}}}\n", fail)
    assert twins(ran) == {"a": None, "b": None}


async def test_the_same_requests_to_another_model_are_told_apart(bench: Bench) -> None:
    ran = await bench.run(f"{SUITE}variants: {{a: {{}}, b: {{mood.decide: generate}}}}\n")
    assert same_requests(ran.view, {"a": {"one"}, "b": {"one"}}) == {"b": "a"}
    assert same_requests(ran.view, {"a": {"one"}, "b": {"another"}}) == {}
