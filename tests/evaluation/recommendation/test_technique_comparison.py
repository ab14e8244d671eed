"""Techniques compared on one step: what is counted, what is missing, and what is not compared at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from promptkit.answers.number import Number
from promptkit.engine.step_rows import find_prompt_step
from promptkit.errors import InputError, ServerFailed
from promptkit.evaluation.cells.progress import EvalOptions
from promptkit.evaluation.evaluate import Evaluation
from promptkit.evaluation.recommendation.technique_comparison import (
    TechniqueComparison,
    TechniqueResult,
    TechniqueSuite,
    compare_techniques,
    comparison_of,
    parse_specs,
    technique_suite,
)
from promptkit.evaluation.suite.reader import load_suite
from promptkit.runtimes.base import Reply, Request
from promptkit.runtimes.models import Models
from promptkit.runtimes.scripted import Scripted
from promptkit.storage.store import Store
from promptkit.techniques.artifacts import Artifact, row_hash
from tests.engine.helpers import Folder, Given, messages, said

PROMPT = """
---
inputs: {sum: {}}
answer: {number: {decimals: 0}}
---
{% block instructions %}Add.{% endblock %}
{% block input %}{{ sum }}{% endblock %}
"""
PIPELINE = """
name: sums
inputs: {sum: {example: 1+1}}
steps:
  add: {prompt: add}
"""
ROWS = """
{"sum": "1+1", "expect": 2}
{"sum": "2+2", "expect": 4}
{"sum": "3+3", "expect": 6}
{"sum": "4+4", "expect": 8}
"""
NEEDS_ROWS = """
from promptkit.techniques import Answer, Prepared, Task, technique

async def prepare(task, rows):
    return Prepared(items=[])

@technique(needs=["rows"], prepare=prepare)
async def mine(task: Task) -> Answer:
    return await task.decide(await task.ask("think"))
"""
THINK = "---\nproduces: answer\n---\n{% extends prompt %}\n"


@pytest.fixture
def folder(folder: Folder) -> Folder:
    folder.write("templates/prompts/add.j2", PROMPT)
    folder.write("rows.jsonl", ROWS)
    folder.write("techniques/mine.py", NEEDS_ROWS)
    folder.write("templates/techniques/mine/think.j2", THINK)
    return folder


def right_when_thinking(request: Request) -> str:
    """Know the sums; without thoughts only the first."""
    text = said(request)
    thinks = "step by step" in text
    if thinks and not request.grammar:
        return " I count."
    first = next(digit for digit in "1234" if f"{digit}+{digit}" in text)
    return str(2 * int(first)) if thinks or first == "1" else "0"


async def compared(
    folder: Folder,
    techniques: str,
    runtime: Scripted | None = None,
    *,
    text: str = PIPELINE,
    allow_seen: bool = False,
    models: Models | None = None,
) -> TechniqueComparison:
    pipeline = folder.load(text)
    step = find_prompt_step(pipeline, None)
    rows = folder.root / "rows.jsonl"
    suite = technique_suite(pipeline, step, parse_specs(techniques), rows, allow_seen=allow_seen)
    models = models or Given(runtime or Scripted(right_when_thinking))
    with Store.open(folder.root / ".promptkit") as store:
        return await compare_techniques(suite, models=models, store=store, options=EvalOptions(retry_errors=True))


def facts(results: Sequence[TechniqueResult], *names: str) -> list[tuple[Any, ...]]:
    return [(each.name, *(getattr(each, name) for name in names)) for each in results]


async def test_each_technique_is_measured_on_all_rows_and_the_better_one_stands_first(folder: Folder) -> None:
    found = await compared(folder, "vanilla,chain_of_thought")

    assert facts(found.results, "right", "n", "dominated_by") == [
        ("chain_of_thought", 4, 4, None),
        ("vanilla", 1, 4, None),
    ]
    thinking, plain = found.results
    assert (thinking.per_row("requests"), plain.per_row("requests")) == (2, 1)
    assert plain.per_row("tokens_out") > 0
    assert plain.interval.low < 0.25 < plain.interval.high
    assert found.model.reference == "scripted"


async def test_the_parameters_of_a_technique_are_its_own(folder: Folder) -> None:
    found = await compared(folder, "vanilla,{self_consistency: {samples: 3}}")

    sampled = next(each for each in found.results if each.name != "vanilla")
    assert sampled.name == "{self_consistency: {samples: 3}}"
    assert sampled.per_row("requests") == 6


async def test_a_call_is_a_template_with_its_reply_whether_or_not_a_request_of_its_own_decides_it(
    folder: Folder,
) -> None:
    found = await compared(folder, "{self_consistency: {samples: 3}},vanilla,chain_of_thought")

    calls = {each.name.strip("{").split(":")[0]: each.per_row("calls") for each in found.results}
    assert calls == {"self_consistency": 3, "vanilla": 1, "chain_of_thought": 2}


async def test_an_answer_of_another_writing_is_right_by_the_types_vote_key(folder: Folder) -> None:
    folder.write("rows.jsonl", '{"sum": "2+2", "expect": "4.0"}')

    text = PIPELINE.replace("prompt: add", "prompt: add, answer: number, decide: generate")

    found = await compared(folder, "vanilla", Scripted(lambda request: " 4"), text=text)

    assert found.results[0].right == 1


async def test_an_unparsed_and_a_cut_off_answer_is_wrong_counted_and_not_repaired(folder: Folder) -> None:
    def script(request: Request) -> str | Reply:
        if "1+1" in said(request):
            return "I cannot tell."
        return Reply(text="It is", finish="length") if "2+2" in said(request) else "6"

    runtime = Scripted(script)
    text = PIPELINE.replace("{prompt: add}", "{prompt: add, decide: generate}")
    found = await compared(folder, "vanilla", runtime, text=text)

    assert facts(found.results, "right", "unparsed", "truncated", "missing", "n") == [("vanilla", 1, 1, 1, 0, 4)]
    assert len(runtime.requests) == 4


async def test_a_row_that_the_server_failed_on_is_missing_and_means_are_over_the_others(folder: Folder) -> None:
    def script(request: Request) -> str | Exception:
        return ServerFailed("the server is tired") if "4+4" in said(request) else right_when_thinking(request)

    found = await compared(folder, "vanilla,chain_of_thought", Scripted(script))

    assert facts(found.results, "right", "n", "missing", "state", "reason") == [
        ("vanilla", 1, 3, 1, "incomplete", "step `add`: the server is tired"),
        ("chain_of_thought", 3, 3, 1, "incomplete", "step `add`: the server is tired"),
    ]
    assert list(found.evidence()) == []


async def test_a_dead_server_is_not_asked_for_every_row(folder: Folder) -> None:
    folder.write("rows.jsonl", "".join(f'{{"sum": "{number}+0", "expect": {number}}}\n' for number in range(300)))
    runtime = Scripted(lambda request: ServerFailed("gone"))

    found = await compared(folder, "vanilla", runtime)

    assert found.results[0].missing == 300
    assert 10 <= len(runtime.requests) < 60


async def test_what_is_not_prepared_or_not_at_hand_is_told_and_stops_no_other(folder: Folder) -> None:
    runtime = Scripted(right_when_thinking, capabilities=["chat", "continue", "grammar", "stop"])

    found = await compared(folder, "mine,self_consistency,vanilla", runtime)

    assert [each.name for each in found.results] == ["vanilla", "mine", "self_consistency"]
    assert found.results[0].state == "measured"
    assert "nothing prepared" in found.results[1].reason
    assert "cannot do what technique `self_consistency` needs: sampling" in found.results[2].reason
    assert {each.state for each in found.results[1:]} == {"unavailable"}


async def test_a_broken_artifact_is_told_with_its_place_and_stops_no_other(folder: Folder) -> None:
    folder.write("pipelines/test.add.mine.yaml", "technique: mine\nitems: 3\n")

    found = await compared(folder, "mine,vanilla")

    assert [each.state for each in found.results] == ["measured", "unavailable"]
    assert "test.add.mine.yaml:2:8: `items`: must be a list" in found.results[1].reason


async def test_a_role_that_no_input_plays_is_told_and_stops_no_other(folder: Folder) -> None:
    folder.write("techniques/mine.py", NEEDS_ROWS.replace('needs=["rows"], prepare=prepare', 'roles=["table"]'))

    found = await compared(folder, "mine,vanilla")

    assert found.results[1].state == "unavailable"
    assert "no input plays the role `table`" in found.results[1].reason


async def test_what_only_a_technique_reads_of_an_inline_prompt_comes_from_the_row(folder: Folder) -> None:
    folder.write("rows.jsonl", '{"note": "PA came", "glossary": {"PA": "prior authorization"}, "expect": "it"}')
    text = """
    name: notes
    inputs: {note: {type: text, example: x}, glossary: {type: json, example: {}}}
    steps:
      outcome: {prompt: {instructions: What came?, input: "{{ note }}"}}
    """
    runtime = Scripted(lambda request: "it")

    found = await compared(folder, "vanilla,term_definitions", runtime, text=text)

    assert facts(found.results, "right") == [("vanilla", 1), ("term_definitions", 1)]
    assert [("prior authorization" in said(request)) for request in runtime.requests] == [False, True]


async def test_unknown_techniques_and_parameters_are_all_told_before_anything_is_asked(folder: Folder) -> None:
    runtime = Scripted(right_when_thinking)

    with pytest.raises(InputError) as wrong:
        await compared(folder, "vanila,{self_consistency: {sampels: 3}}", runtime)

    told = messages(wrong.value.problems)
    assert "--techniques: unknown technique `vanila`" in told
    assert "no parameter `sampels`" in told
    assert not runtime.requests


async def test_rows_that_a_preparation_saw_are_refused_or_marked_and_never_evidence(folder: Folder) -> None:
    artifact = Artifact(technique="mine", rows=(row_hash({"sum": "1+1"}), row_hash({"sum": "4+4"}), "0" * 16))
    folder.write("pipelines/test.add.mine.yaml", artifact.model_dump_json())

    with pytest.raises(InputError, match=r"`mine` saw 2 of 4 rows(?s:.*)--allow-seen"):
        await compared(folder, "vanilla,mine")

    found = await compared(folder, "vanilla,mine", allow_seen=True)

    assert {each.name: each.seen for each in found.results} == {"vanilla": 0, "mine": 2}
    assert [each.technique for each in found.evidence()] == ["vanilla"]


async def test_the_evidence_says_what_was_measured_on_what(folder: Folder) -> None:
    found = await compared(folder, "{self_consistency: {samples: 2}}")
    (evidence,) = found.evidence()

    assert (evidence.pipeline, evidence.step) == ("sums", "add")
    assert evidence.technique == {"self_consistency": {"samples": 2}}
    assert (evidence.model.reference, evidence.model.digest) == ("scripted", "scripted")
    assert (evidence.data.file, evidence.data.rows) == ("rows.jsonl", found.rows_hash)
    assert (evidence.n, evidence.right, evidence.requests) == (4, 4, 4)
    assert (evidence.low, evidence.high) == found.results[0].interval


async def test_the_evidence_has_the_gain_over_vanilla_on_the_same_rows_and_none_over_another(folder: Folder) -> None:
    gains = {each.technique: each.gain for each in (await compared(folder, "vanilla,chain_of_thought")).evidence()}
    gain = gains["chain_of_thought"]
    assert gains["vanilla"] is None and gain is not None
    assert gain[0] == pytest.approx(0.75) and gain[1] < gain[0] < gain[2]
    other = {each.technique: each.gain for each in (await compared(folder, "chain_of_thought,vanilla")).evidence()}
    assert other == {"vanilla": None, "chain_of_thought": None}


async def test_an_edit_of_what_the_step_is_made_of_makes_the_evidence_that_of_another(folder: Folder) -> None:
    (before,) = (await compared(folder, "vanilla")).evidence()
    (again,) = (await compared(folder, "vanilla")).evidence()
    prompt = next((folder.root / "templates" / "prompts").glob("*.j2"))
    prompt.write_text(prompt.read_text() + "\n{% block recap %}Be exact.{% endblock %}\n")
    (after,) = (await compared(folder, "vanilla")).evidence()

    assert before.files == again.files != after.files


async def test_what_was_asked_for_a_missing_row_counts_in_the_totals(folder: Folder) -> None:
    def failing(request: Request) -> str | Exception:
        if request.grammar and "4+4" in said(request):
            return ServerFailed("gone")
        return right_when_thinking(request)

    found = await compared(folder, "chain_of_thought", Scripted(failing))

    (result,) = found.results
    assert (result.missing, result.spent.requests) == (1, 6)
    assert found.totals.calls == 7


async def test_the_model_is_the_steps_for_every_technique(folder: Folder) -> None:
    models = Given(Scripted(right_when_thinking), tiny=Scripted(right_when_thinking))
    text = PIPELINE.replace("{prompt: add}", "{prompt: add, model: ollama/tiny}")

    await compared(folder, "vanilla,chain_of_thought", text=text, models=models)

    assert set(models.asked_for) == {"ollama/tiny"}


async def test_each_technique_is_tested_against_the_first_on_the_same_rows(folder: Folder) -> None:
    found = await compared(folder, "vanilla,chain_of_thought")

    assert found.record is not None
    (difference,) = found.record.comparisons
    assert (difference.a, difference.b, difference.metric) == ("chain_of_thought", "vanilla", "accuracy")
    assert (difference.difference, difference.better, difference.worse) == (0.75, 3, 0)
    assert difference.p is not None and 0 < difference.p < 1
    assert difference.low is not None and difference.high is not None and difference.low < 0.75 < difference.high


async def test_a_comparison_is_a_run_of_the_store_and_what_is_known_is_not_asked_again(folder: Folder) -> None:
    first = await compared(folder, "vanilla,chain_of_thought")
    runtime = Scripted(right_when_thinking)

    again = await compared(folder, "vanilla,chain_of_thought", runtime)

    assert first.record is not None and again.record is not None
    assert (first.record.run, again.record.run, again.record.suite) == (1, 2, "sums.add.techniques")
    assert facts(first.results, "right", "spent") == facts(
        [replace(each, spent=replace(each.spent, cached=0)) for each in again.results], "right", "spent"
    )
    assert not runtime.requests


async def test_a_suite_with_a_matrix_of_the_techniques_says_the_same(folder: Folder) -> None:
    found = await compared(folder, "vanilla,chain_of_thought")
    folder.write(
        "evals/sums.yaml",
        """
        data: ../rows.jsonl
        target: {pipeline: test, step: add}
        metrics: {accuracy: exact}
        matrix: {add.technique: [vanilla, chain_of_thought]}
        """,
    )
    runtime = Scripted(right_when_thinking)
    with Store.open(folder.root / ".promptkit") as store:
        suite = load_suite(folder.root / "evals" / "sums.yaml", folder.project)
        evaluation = Evaluation(suite, models=Given(runtime), store=store)
        record = (await evaluation.run()).record

    assert found.record is not None
    keys = ("difference", "low", "high", "p", "adjusted", "better", "worse", "n")
    assert [getattr(each, key) for each in record.comparisons for key in keys] == [
        getattr(each, key) for each in found.record.comparisons for key in keys
    ]
    assert not runtime.requests


@pytest.mark.parametrize("text", ["", "1,2", "vanilla,{a: 1", "[vanilla]"])
def test_what_is_no_list_of_techniques_is_told(text: str) -> None:
    with pytest.raises(InputError, match="--techniques"):
        parse_specs(text)


def test_a_list_names_each_technique_once() -> None:
    assert parse_specs(" vanilla , {pal: {samples: 2}},vanilla") == ["vanilla", {"pal": {"samples": 2}}]


@pytest.mark.attack("code")
async def test_a_defect_on_one_row_is_a_missing_row_with_its_type_and_place(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Number.parse

    def parse(self: Number, text: str) -> Any:
        if text == "666":
            raise SystemExit(3)
        return real(self, text)

    monkeypatch.setattr(Number, "parse", parse)
    runtime = Scripted(lambda request: "666" if "3+3" in said(request) else right_when_thinking(request))
    found = await compared(folder, "vanilla", runtime)

    [measured] = found.results
    assert (measured.right, measured.missing) == (1, 1)
    assert measured.reason.startswith("unexpected SystemExit at ")


async def test_a_run_that_is_cancelled_has_the_numbers_so_far_of_the_available_techniques(folder: Folder) -> None:
    asked = asyncio.Event()

    async def slow(request: Request) -> str:
        if "4+4" in said(request):
            asked.set()
            await asyncio.sleep(60)
        return right_when_thinking(request)

    comparisons: list[TechniqueComparison] = []
    with Store.open(folder.root / ".promptkit") as store:

        @contextmanager
        def watch(techniques: TechniqueSuite, evaluation: Evaluation) -> Iterator[None]:
            try:
                yield
            finally:
                comparisons.append(comparison_of(techniques, evaluation, store))

        pipeline = folder.load(PIPELINE)
        step = find_prompt_step(pipeline, None)
        suite = technique_suite(pipeline, step, parse_specs("mine,vanilla"), folder.root / "rows.jsonl")
        models = Given(Scripted(slow))
        task = asyncio.ensure_future(compare_techniques(suite, models=models, store=store, watch=watch))
        await asked.wait()
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert facts(comparisons[0].results, "state", "right", "n") == [
        ("vanilla", "incomplete", 1, 3),
        ("mine", "unavailable", 0, 4),
    ]
    assert comparisons[0].record is not None and comparisons[0].record.status == "interrupted"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ('{"sum": "5+5", "expect": "many"}', "row 2: `accuracy`: 'many'"),
        ('{"sum": "5+5"}', "row 2:"),
        ('{"expect": 3}', "row 2: nothing gives the input `sum`"),
    ],
)
async def test_a_wrong_row_is_told_before_anything_is_asked(folder: Folder, row: str, problem: str) -> None:
    folder.write("rows.jsonl", '{"sum": "1+1", "expect": 2}\n' + row)
    runtime = Scripted(right_when_thinking)

    with pytest.raises(InputError) as wrong:
        await compared(folder, "vanilla", runtime)

    assert problem in messages(wrong.value.problems)
    assert not runtime.requests


async def test_data_without_an_expected_answer_names_the_fields_that_it_has(folder: Folder) -> None:
    folder.write("rows.jsonl", '{"sum": "1+1", "result": 2}')

    with pytest.raises(InputError) as wrong:
        await compared(folder, "vanilla")

    assert "there is no field `expect`, `output`, `label`, `answer` with the expected answer" in str(wrong.value)
    assert "the rows' fields are `sum`, `result`; --expect FIELD names another" in str(wrong.value.problems[0].hint)
