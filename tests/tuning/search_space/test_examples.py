"""The axis of examples: rows of the pool with their expected answers, never rows that are scored or kept."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline
from promptkit.runtimes.scripted import Scripted
from promptkit.tuning.data_split import DataSplit
from promptkit.tuning.search_space.candidate import Parameter
from promptkit.tuning.search_space.examples import (
    Demonstration,
    distinct_demo_pool,
    example_choices,
    examples_parameter,
    gold_demonstrations,
    room_for_examples,
)
from tests.engine.helpers import Folder, asked
from tests.evaluation.suites import Bench
from tests.tuning.data_splits import ground, model, reviews

STEPS = """
name: mood
inputs: {text: {example: fine}}
steps:
  parts: {prompt: "Parts of {{ text }}", answer: {list: {separator: ";"}}}
  mood: {for_each: "{{ parts }}", as: part, prompt: part_mood}
"""
PART = """
---
inputs: {part: {}}
answer: {label: [good, bad]}
---
{% block instructions %}Say how it is.{% endblock %}
{% block input %}{{ part }}{% endblock %}
"""
STEP_SUITE = """
data: rows.jsonl
target: mood
metrics: {all: exact}
steps: {mood: {inputs: {parts: "{{ row.parts }}"}, expect: "{{ row.expect }}", metrics: {all: exact}}}
"""


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder)


def shown(axis: Parameter) -> list[list[dict[str, Any]]]:
    """Return the examples of each level but the first."""
    return [value for level in axis.levels[1:] for value in level.changes.values()]


def texts(axis: Parameter) -> set[str]:
    return {each["input"]["text"] for level in shown(axis) for each in level}


def test_examples_are_rows_of_the_pool_with_what_is_expected_of_them(bench: Bench) -> None:
    rows = ground(bench, reviews(160))
    axis, notes = examples_parameter(rows, "mood", model())
    expected = {row.inputs[0]["text"]: row.expect for row in (rows.rows[place] for place in rows.pool)}

    assert axis.levels[0].changes == {}
    written = {each["input"]["text"]: each["output"] for level in shown(axis) for each in level}
    assert written.items() <= expected.items()
    assert (len(axis.levels), notes) == (13, ())


def test_no_scored_row_and_no_confirm_row_is_an_example(bench: Bench) -> None:
    rows = ground(bench)
    axis, _ = examples_parameter(rows, "mood", model())

    assert texts(axis).isdisjoint(rows.rows[place].inputs[0]["text"] for place in (*rows.order, *rows.confirm))


def test_what_nearly_repeats_a_scored_or_a_confirm_row_is_no_example(bench: Bench) -> None:
    rows = ground(
        bench,
        [{"text": f"{each['text']}{mark}", "expect": each["expect"]} for each in reviews(40) for mark in ("", "!")],
    )
    kept = {rows.rows[place].inputs[0]["text"].rstrip("!") for place in (*rows.order, *rows.confirm)}
    near = [place for place in rows.pool if rows.rows[place].inputs[0]["text"].rstrip("!") in kept]
    _, notes = examples_parameter(rows, "mood", model())

    assert near
    assert set(distinct_demo_pool(rows)) == set(rows.pool) - set(near)
    assert notes[0] == f"mood: {len(near)} rows are no demonstrations: they nearly repeat rows that are scored"


def test_examples_go_through_as_they_are_written(bench: Bench, folder: Folder) -> None:
    strange = [
        '{{ text }} "quoted"',
        "{% endraw %}",
        "12:30 # no\n- list: [1]",
        "'null'",
        "true",
        "1e5",
        "}} {#",
        "\\n",
    ]
    found = ground(bench, [{"text": f"{text} {at}", "expect": "good"} for at in range(20) for text in strange])
    axis, _ = examples_parameter(found, "mood", model())

    for level in axis.levels[1:]:
        asking = load_target("mood", folder.project, changes=level.changes).steps["mood"].prompt_call
        assert asking is not None
        written = level.changes["mood.examples"]
        assert [dict(each.inputs) for each in asking.examples.all] == [each["input"] for each in written]


async def test_examples_are_shown_to_the_model_as_they_are(folder: Folder) -> None:
    Bench(folder)
    changes = {"mood.examples": [{"input": {"text": "{{ text }} {# x #}"}, "output": "good"}]}
    runtime = Scripted(["good"])
    from promptkit.engine.run import run
    from tests.engine.helpers import Given

    await run(load_target("mood", folder.project, changes=changes), {"text": "it"}, models=Given(runtime))

    assert "{{ text }} {# x #}" in asked(runtime)[0]


def test_a_step_with_examples_may_have_none(bench: Bench, folder: Folder) -> None:
    folder.write(
        "pipelines/mood.yaml", "inputs: {text: {}}\nsteps: {mood: {prompt: mood, examples: [{input: x, output: bad}]}}"
    )
    axis, _ = examples_parameter(ground(bench), "mood", model())

    assert (axis.levels[1].name, axis.levels[1].changes) == ("no examples", {"mood.examples": []})
    changed = load_target("mood", folder.project, changes=axis.levels[1].changes).steps["mood"].prompt_call
    assert changed is not None
    assert changed.examples.all == ()


def test_examples_of_a_prompt_without_an_input_section_are_not_tried(bench: Bench, folder: Folder) -> None:
    folder.write(
        "templates/prompts/mood.j2", "---\ninputs: {text: {}}\nanswer: {label: [good, bad]}\n---\nHow is {{ text }}?"
    )
    axis, notes = examples_parameter(ground(bench), "mood", model())

    assert len(axis.levels) == 1
    assert "no section `input`" in notes[0]


def test_few_rows_leave_none_for_examples(bench: Bench) -> None:
    axis, notes = examples_parameter(ground(bench, reviews(4)), "mood", model())

    assert (len(axis.levels), notes) == (
        1,
        ("mood: no examples are drawn: there are too few rows to keep some for it",),
    )


@pytest.mark.parametrize(
    "suite",
    [
        "data: rows.jsonl\ntarget: mood\nmetrics: {short: {length: {max: 3}}}\nexpect: \"{{ 'no label' }}\"",
        'data: rows.jsonl\ntarget: mood\nmetrics: {count: {number: {of: "{{ output | length }}", expect: "{{ 4 }}"}}}',
    ],
)
def test_an_aim_that_does_not_compare_the_answer_gives_no_examples(bench: Bench, suite: str) -> None:
    found = ground(bench, suite=suite)

    assert gold_demonstrations(found.suite, found.rows, "mood", found.search) == []


def test_a_pattern_or_a_test_is_no_answer_and_the_rows_own_answer_is(bench: Bench) -> None:
    alone = ground(bench, suite="data: rows.jsonl\ntarget: mood\nmetrics: {says: regex}")
    apart = ground(bench, suite="data: rows.jsonl\ntarget: mood\nmetrics: {says: {regex: {expect: '^g|^b'}}}")

    assert gold_demonstrations(alone.suite, alone.rows, "mood", alone.pool) == []
    assert {each.output for each in gold_demonstrations(apart.suite, apart.rows, "mood", apart.pool)} == {"good", "bad"}


def test_an_aim_on_a_part_of_the_output_gives_examples_of_the_step_that_makes_it(bench: Bench, folder: Folder) -> None:
    folder.write(
        "pipelines/mood.yaml",
        'inputs: {text: {}}\nsteps: {mood: {prompt: mood}}\noutput: {found: {mood: "{{ mood }}"}}',
    )
    metric = '{label: {of: "{{ output.found.mood }}", expect: "{{ row.expect }}"}}'
    suite = f"data: rows.jsonl\ntarget: mood\nmetrics: {{hit: {metric}}}"
    found = ground(bench, suite=suite)

    assert {each.output for each in gold_demonstrations(found.suite, found.rows, "mood", found.pool)} == {"good", "bad"}


@pytest.fixture
def parts(bench: Bench, folder: Folder) -> DataSplit:
    folder.write("pipelines/mood.yaml", STEPS)
    folder.write("templates/prompts/part_mood.j2", PART)
    rows = [{"text": f"t {at}", "parts": [f"kind {at}", f"rude {at}"], "expect": ["good", "bad"]} for at in range(60)]
    bench.rows(rows)
    from promptkit.tuning.data_split import read_data_split

    (step,) = bench.suite(STEP_SUITE).steps
    return read_data_split(step)


def test_each_item_of_a_for_each_is_an_example(parts: DataSplit) -> None:
    found = gold_demonstrations(parts.suite, parts.rows, "mood", parts.pool[:1])
    number = parts.rows[parts.pool[0]].inputs[0]["parts"][0].split()[1]

    assert [(each.inputs, each.output, each.label) for each in found] == [
        ({"part": f"kind {number}"}, "good", "good"),
        ({"part": f"rude {number}"}, "bad", "bad"),
    ]


def test_a_step_that_reads_results_that_rows_do_not_give_has_no_examples(parts: DataSplit, bench: Bench) -> None:
    from promptkit.tuning.data_split import read_data_split

    whole = read_data_split(bench.suite(STEP_SUITE))

    assert gold_demonstrations(whole.suite, whole.rows, "mood", whole.pool) == []
    assert gold_demonstrations(whole.suite, whole.rows, "parts", whole.pool) == []


def test_a_row_with_an_answer_of_another_type_is_left_out(bench: Bench) -> None:
    rows = [{**each, "expect": "fair"} if at == 7 else each for at, each in enumerate(reviews(40))]
    found = ground(bench, rows, suite="data: rows.jsonl\ntarget: mood\nmetrics: {hit: normalized}")

    assert len(gold_demonstrations(found.suite, found.rows, "mood", range(40))) == 39


def test_demonstrations_that_a_model_made_are_further_sets(bench: Bench) -> None:
    found = ground(bench)
    thought = [
        Demonstration({"text": f"own {place}"}, "good", "Because.", label="good", row=place)
        for place in (*found.pool[:4], found.order[0])
    ]
    axis, _ = examples_parameter(found, "mood", model(), made={"that it solved": thought})
    made = [level for level in axis.levels if "that it solved" in level.name]

    assert [level.name for level in made] == [
        "2 examples that it solved #1",
        "2 examples that it solved #2",
        "4 examples that it solved #1",
        "4 examples that it solved #2",
    ]
    assert f"own {found.order[0]}" not in str([level.changes for level in made])


def pool(labels: str) -> list[Demonstration]:
    """Return a demonstration for each letter, which is its label."""
    return [Demonstration({"text": f"row {at}"}, label, label=label, row=at) for at, label in enumerate(labels)]


def drawn(labels: str, **how: object) -> list[list[str]]:
    """Return the outputs of each set."""
    levels = example_choices("mood", pool(labels), **how)  # type: ignore[arg-type]
    return [[each["output"] for each in level.changes["mood.examples"]] for level in levels]


def test_there_are_four_sets_of_each_size() -> None:
    assert [len(each) for each in drawn("ab" * 8)] == [2] * 4 + [4] * 4 + [8] * 4


def test_the_sizes_are_those_that_the_pool_has_rows_for() -> None:
    assert {len(each) for each in drawn("abab")} == {2, 4}
    assert {len(each) for each in drawn("a")} == {1}
    assert drawn("") == []


@given(st.text(alphabet="abc", min_size=8, max_size=16), st.integers(0, 5))
def test_each_label_is_shown_as_often_as_the_others_as_far_as_there_are_enough(labels: str, seed: int) -> None:
    there = Counter(labels)
    for shown in drawn(labels, seed=seed):
        counts = Counter(shown)
        more = [counts[label] for label in counts if counts[label] < there[label]]
        assert not more or max(counts.values()) - min(more) <= 1


@given(st.permutations("aaaabbbbcccc"), st.integers(0, 5))
def test_the_last_label_differs_between_sets_and_from_the_one_before(labels: list[str], seed: int) -> None:
    sets = drawn("".join(labels), seed=seed)
    lasts = [[each[-1] for each in sets if len(each) == size] for size in (2, 4, 8)]

    assert all(len(set(each[:3])) == min(3, len(set(each))) >= 2 for each in lasts)
    assert all(each[-1] != each[-2] for each in sets)


def test_of_more_labels_than_places_the_frequent_ones_are_shown() -> None:
    shown = [set(each) for each in drawn("aaaabbbbcd", sizes=[2])]

    assert shown == [{"a", "b"}] * 4


@given(st.text(alphabet="ab", min_size=1, max_size=16), st.integers(0, 5))
def test_no_set_is_there_twice_and_no_row_twice_in_a_set(labels: str, seed: int) -> None:
    levels = example_choices("mood", pool(labels), seed=seed)
    texts = [[each["input"]["text"] for each in level.changes["mood.examples"]] for level in levels]

    assert all(len(set(each)) == len(each) for each in texts)
    assert len({tuple(each) for each in texts}) == len(texts)
    assert len({level.name for level in levels}) == len(levels)


def test_the_seed_decides_what_is_drawn() -> None:
    assert example_choices("mood", pool("ab" * 8), seed=1) == example_choices("mood", pool("ab" * 8), seed=1)
    one, other = (example_choices("mood", pool("ab" * 8), seed=seed) for seed in (1, 2))
    assert [each.changes for each in one] != [each.changes for each in other]


def test_demonstrations_without_labels_are_drawn_too() -> None:
    plain = [Demonstration({"text": f"row {at}"}, at) for at in range(4)]

    assert len(example_choices("mood", plain, sizes=[4])) == 4


def test_thoughts_are_shown_where_there_are_some() -> None:
    (level,) = example_choices(
        "mood", [Demonstration({"text": "x"}, "a", "It is a.")], draws=1, called="that it solved"
    )

    assert level.name == "1 example that it solved #1"
    assert level.changes["mood.examples"] == [{"input": {"text": "x"}, "thoughts": "It is a.", "output": "a"}]


def test_sets_that_are_too_long_are_left_out() -> None:
    length = pool("ab")[0].length

    assert {len(each) for each in drawn("ab" * 8, room=4 * length + 3)} == {2, 4}


@pytest.fixture
def pipeline(folder: Folder) -> Pipeline:
    return folder.load('steps: {mood: {prompt: "Say it.", options: {context: 600}}, other: {prompt: "Say it."}}')


def test_examples_have_a_third_of_the_context(pipeline: Pipeline) -> None:
    assert room_for_examples(pipeline.steps["mood"], model(context=9_000)) == 600
    assert room_for_examples(pipeline.steps["other"], model(context=9_000)) == 9_000
    assert room_for_examples(pipeline.steps["other"], model(context=None)) == 4_096
