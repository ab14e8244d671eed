"""The axis of examples: rows of the pool with their expected answers, never rows that are scored or kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline
from promptkit.runtimes.scripted import Scripted
from promptkit.tuning.data_split import DataSplit
from promptkit.tuning.search_space.candidate import Candidate, Parameter
from promptkit.tuning.search_space.demonstration import Demonstration, gold_demonstrations
from promptkit.tuning.search_space.example_draws import diverse_draw, example_choices
from promptkit.tuning.search_space.examples import (
    COMMON_ROWS,
    demonstration_places,
    examples_parameter,
    room_for_examples,
)
from tests.engine.helpers import Folder, asked
from tests.evaluation.suites import Bench
from tests.tuning.data_splits import ABLE, data_split, model, reviews

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


def shown(parameter: Parameter) -> list[list[dict[str, Any]]]:
    """Return the examples of each choice that shows all rows the same."""
    return [value for choice in parameter.choices for value in choice.changes.values() if isinstance(value, list)]


def texts(parameter: Parameter) -> set[str]:
    return {entry["input"]["text"] for level in shown(parameter) for entry in level}


def rows_of(split: DataSplit, places: Iterable[int]) -> dict[str, str]:
    """Return the texts of rows with their labels."""
    return {split.rows[place].inputs[0]["text"]: split.rows[place].expect for place in places}


def test_examples_are_rows_set_aside_or_search_rows_that_come_late_with_what_is_expected_of_them(bench: Bench) -> None:
    split = data_split(bench, reviews(160))
    parameter, notes = examples_parameter(split, "mood", model())

    assert parameter.choices[0].changes == {}
    written = {entry["input"]["text"]: entry["output"] for level in shown(parameter) for entry in level}
    late = split.search[COMMON_ROWS:]
    assert written.items() <= rows_of(split, (*split.demo_pool, *late)).items()
    assert written.keys() & rows_of(split, split.demo_pool) and written.keys() & rows_of(split, late)
    assert notes == ()


def test_there_are_four_draws_of_each_size_one_of_them_diverse_and_the_nearest_as_many(bench: Bench) -> None:
    parameter, _ = examples_parameter(data_split(bench, reviews(160)), "mood", model())
    names = [f"{size} examples {mark}" for size in (2, 4, 8) for mark in ("#1", "#2", "#3", "diverse")]

    assert [choice.name for choice in parameter.choices] == [
        "as written",
        *names,
        *(f"{size} nearest" for size in (2, 4, 8)),
    ]


def test_no_confirm_row_and_none_of_the_first_rows_is_an_example(bench: Bench) -> None:
    split = data_split(bench, reviews(160))
    parameter, _ = examples_parameter(split, "mood", model())

    assert texts(parameter).isdisjoint(rows_of(split, (*split.search[:COMMON_ROWS], *split.holdout)))


def test_a_search_row_that_a_choice_shows_is_named_by_it(bench: Bench) -> None:
    split = data_split(bench, reviews(160))
    parameter, _ = examples_parameter(split, "mood", model())

    assert any(Candidate({"mood.examples": choice}).shows for choice in parameter.choices)
    for choice in parameter.choices[1:]:
        value = choice.changes["mood.examples"]
        written = {entry["input"]["text"] for entry in value} if isinstance(value, list) else set()
        shows = Candidate({"mood.examples": choice}).shows
        assert rows_of(split, shows).keys() == written & rows_of(split, split.search).keys()


def test_the_nearest_are_taken_of_all_search_rows_from_a_file_of_the_store(bench: Bench, folder: Folder) -> None:
    split = data_split(bench, reviews(160))
    parameter, _ = examples_parameter(split, "mood", model())
    choice = next(choice for choice in parameter.choices if choice.name == "4 nearest")

    assert set(choice.changes["mood.examples"]) == {"nearest", "by", "from"}
    call = load_target("mood", folder.project, changes=choice.changes).steps["mood"].prompt_call
    assert call is not None and call.examples.nearest is not None and call.examples.nearest.count == 4
    pool = {example.inputs["text"]: example.output for example in call.examples.all}
    assert pool == rows_of(split, split.visible)


@pytest.mark.parametrize(("able", "by"), [(True, "embed"), (False, "words")])
def test_the_nearest_are_found_by_embeddings_where_the_model_has_good_ones(bench: Bench, able: bool, by: str) -> None:
    able_to = (*ABLE, "embeddings") if able else ABLE
    parameter, _ = examples_parameter(data_split(bench, reviews(30)), "mood", model(*able_to))

    assert [choice.changes["mood.examples"]["by"] for choice in parameter.choices if "near" in choice.name] == [by] * 2


def test_a_small_pool_of_nearest_examples_stands_in_the_pipeline(bench: Bench) -> None:
    split = data_split(bench, reviews(30))
    parameter, _ = examples_parameter(split, "mood", model())
    nearest = {choice.name: choice.changes["mood.examples"] for choice in parameter.choices if "near" in choice.name}

    assert nearest.keys() == {"2 nearest", "4 nearest"}, "eight of so few would be nearly all of them"
    assert all(len(examples["from"]) == len(split.visible) for examples in nearest.values())


MARKED = (("", "good"), ("!", "bad"))


def test_what_nearly_repeats_a_scored_or_a_confirm_row_is_no_example(bench: Bench) -> None:
    # Rows of one answer would be one cluster, and none of it an example.
    split = data_split(
        bench,
        [{"text": f"{entry['text']}{mark}", "expect": label} for entry in reviews(80) for mark, label in MARKED],
    )
    kept = demonstration_places(split)
    texts = [split.rows[place].inputs[0]["text"].rstrip("!") for place in (*split.search, *split.holdout)]
    near = [place for place in split.demo_pool if split.rows[place].inputs[0]["text"].rstrip("!") in texts]
    _, notes = examples_parameter(split, "mood", model())

    assert near and kept
    assert all(
        texts.count(split.rows[place].inputs[0]["text"].rstrip("!")) == (place in split.search) for place in kept
    )
    assert notes[0] == f"mood: {len(near)} rows are not used as demonstrations: they nearly repeat scored rows"


def test_a_row_whose_document_is_scored_is_no_example(bench: Bench) -> None:
    rows = [{**row, "document": f"d{at // 2}" if at < 80 else f"of {at}"} for at, row in enumerate(reviews(160))]
    suite = "data: {file: rows.jsonl, cluster: document}\ntarget: mood\nmetrics: {accuracy: label}"
    split = data_split(bench, rows, suite)
    documents = [split.rows[place].row.fields["document"] for place in (*split.search, *split.holdout)]

    shared = [place for place in demonstration_places(split) if place in split.search]
    assert shared and all(documents.count(split.rows[place].row.fields["document"]) == 1 for place in shared)


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
    found = data_split(bench, [{"text": f"{text} {at}", "expect": "good"} for at in range(20) for text in strange])
    parameter, _ = examples_parameter(found, "mood", model())

    for choice in (choice for choice in parameter.choices if "examples" in choice.name):
        asking = load_target("mood", folder.project, changes=choice.changes).steps["mood"].prompt_call
        assert asking is not None
        written = choice.changes["mood.examples"]
        assert [dict(example.inputs) for example in asking.examples.all] == [entry["input"] for entry in written]


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
    parameter, _ = examples_parameter(data_split(bench), "mood", model())

    assert (parameter.choices[1].name, parameter.choices[1].changes) == ("no examples", {"mood.examples": []})
    changed = load_target("mood", folder.project, changes=parameter.choices[1].changes).steps["mood"].prompt_call
    assert changed is not None
    assert changed.examples.all == ()


def test_examples_of_a_prompt_without_an_input_section_are_not_tried(bench: Bench, folder: Folder) -> None:
    folder.write(
        "templates/prompts/mood.j2", "---\ninputs: {text: {}}\nanswer: {label: [good, bad]}\n---\nHow is {{ text }}?"
    )
    parameter, notes = examples_parameter(data_split(bench), "mood", model())

    assert len(parameter.choices) == 1
    assert "no section `input`" in notes[0]


def test_few_rows_leave_none_for_examples(bench: Bench) -> None:
    parameter, notes = examples_parameter(data_split(bench, reviews(4)), "mood", model())

    assert (len(parameter.choices), notes) == (
        1,
        ("mood: no examples are drawn: there are too few rows to set some aside",),
    )


@pytest.mark.parametrize(
    "suite",
    [
        "data: rows.jsonl\ntarget: mood\nmetrics: {short: {length: {max: 3}}}\nexpect: \"{{ 'no label' }}\"",
        'data: rows.jsonl\ntarget: mood\nmetrics: {count: {number: {of: "{{ output | length }}", expect: "{{ 4 }}"}}}',
    ],
)
def test_an_aim_that_does_not_compare_the_answer_gives_no_examples(bench: Bench, suite: str) -> None:
    found = data_split(bench, suite=suite)

    assert gold_demonstrations(found.suite, found.rows, "mood", found.visible) == []


def test_a_pattern_or_a_test_is_no_answer_and_the_rows_own_answer_is(bench: Bench) -> None:
    alone = data_split(bench, suite="data: rows.jsonl\ntarget: mood\nmetrics: {says: regex}")
    apart = data_split(bench, suite="data: rows.jsonl\ntarget: mood\nmetrics: {says: {regex: {expect: '^g|^b'}}}")

    assert gold_demonstrations(alone.suite, alone.rows, "mood", alone.demo_pool) == []
    assert {demo.output for demo in gold_demonstrations(apart.suite, apart.rows, "mood", apart.demo_pool)} == {
        "good",
        "bad",
    }


def test_an_aim_on_a_part_of_the_output_gives_examples_of_the_step_that_makes_it(bench: Bench, folder: Folder) -> None:
    folder.write(
        "pipelines/mood.yaml",
        'inputs: {text: {}}\nsteps: {mood: {prompt: mood}}\noutput: {found: {mood: "{{ mood }}"}}',
    )
    metric = '{label: {of: "{{ output.found.mood }}", expect: "{{ row.expect }}"}}'
    suite = f"data: rows.jsonl\ntarget: mood\nmetrics: {{hit: {metric}}}"
    found = data_split(bench, suite=suite)

    assert {demo.output for demo in gold_demonstrations(found.suite, found.rows, "mood", found.demo_pool)} == {
        "good",
        "bad",
    }


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
    records = gold_demonstrations(parts.suite, parts.rows, "mood", parts.demo_pool[:1])
    number = parts.rows[parts.demo_pool[0]].inputs[0]["parts"][0].split()[1]

    assert [(demo.inputs, demo.output, demo.label) for demo in records] == [
        ({"part": f"kind {number}"}, "good", "good"),
        ({"part": f"rude {number}"}, "bad", "bad"),
    ]


def test_a_step_that_reads_results_that_rows_do_not_give_has_no_examples(parts: DataSplit, bench: Bench) -> None:
    from promptkit.tuning.data_split import read_data_split

    whole = read_data_split(bench.suite(STEP_SUITE))

    assert gold_demonstrations(whole.suite, whole.rows, "mood", whole.demo_pool) == []
    assert gold_demonstrations(whole.suite, whole.rows, "parts", whole.demo_pool) == []


def test_a_row_with_an_answer_of_another_type_is_left_out(bench: Bench) -> None:
    rows = [{**entry, "expect": "fair"} if at == 7 else entry for at, entry in enumerate(reviews(40))]
    found = data_split(bench, rows, suite="data: rows.jsonl\ntarget: mood\nmetrics: {hit: normalized}")

    assert len(gold_demonstrations(found.suite, found.rows, "mood", range(40))) == 39


def test_demonstrations_that_a_model_made_are_further_sets(bench: Bench) -> None:
    found = data_split(bench)
    thought = [
        Demonstration({"text": f"own {place}"}, "good", "Because.", label="good", row=place)
        for place in (*found.demo_pool[:4], found.search[0])
    ]
    parameter, _ = examples_parameter(found, "mood", model(), made={"that it solved": thought})
    made = [choice for choice in parameter.choices if "that it solved" in choice.name]

    assert [choice.name for choice in made] == [
        "2 examples that it solved #1",
        "2 examples that it solved #2",
        "4 examples that it solved #1",
        "4 examples that it solved #2",
    ]
    assert f"own {found.search[0]}" not in str([choice.changes for choice in made])


def pool(labels: str) -> list[Demonstration]:
    """Return a demonstration for each letter, which is its label."""
    return [Demonstration({"text": f"row {at}"}, label, label=label, row=at) for at, label in enumerate(labels)]


def drawn(labels: str, **how: object) -> list[list[str]]:
    """Return the outputs of each set."""
    choices = example_choices("mood", pool(labels), **how)  # type: ignore[arg-type]
    return [[entry["output"] for entry in choice.changes["mood.examples"]] for choice in choices]


def test_there_are_three_random_sets_and_a_diverse_one_of_each_size() -> None:
    assert [len(group) for group in drawn("ab" * 8)] == [2] * 4 + [4] * 4 + [8] * 4
    assert len(drawn("ab" * 8, called="that it solved")) == 9


def test_a_diverse_set_stands_for_the_groups_of_a_pool() -> None:
    groups = ["the plot is thin", "the actors are fine", "a long slow film"]
    inputs = [f"{group} {at}" for at in range(5) for group in groups]
    demos = [Demonstration({"text": text}, "a", label="a", row=at) for at, text in enumerate(inputs)]

    drawn = diverse_draw(demos, 3, Random(0))

    assert {str(demo.inputs["text"])[:-2] for demo in drawn} == set(groups)


def test_a_diverse_set_has_each_label_as_often_and_ends_in_another_than_the_one_before() -> None:
    drawn = diverse_draw(pool("aaaaaaaabb"), 4, Random(0))

    assert sorted(str(demo.label) for demo in drawn) == ["a", "a", "b", "b"]
    assert drawn[-1].label != drawn[-2].label


def test_the_sizes_are_those_that_the_pool_has_rows_for() -> None:
    assert {len(group) for group in drawn("abab")} == {2, 4}
    assert {len(group) for group in drawn("a")} == {1}
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
    lasts = [[group[-1] for group in sets if len(group) == size] for size in (2, 4, 8)]

    assert all(len(set(group[:3])) == min(3, len(set(group))) >= 2 for group in lasts)
    assert all(group[-1] != group[-2] for group in sets)


def test_of_more_labels_than_places_the_frequent_ones_are_shown() -> None:
    shown = [set(group) for group in drawn("aaaabbbbcd", sizes=[2])]

    assert shown == [{"a", "b"}] * 4


@given(st.text(alphabet="ab", min_size=1, max_size=16), st.integers(0, 5))
def test_no_set_is_there_twice_and_no_row_twice_in_a_set(labels: str, seed: int) -> None:
    choices = example_choices("mood", pool(labels), seed=seed)
    texts = [[entry["input"]["text"] for entry in choice.changes["mood.examples"]] for choice in choices]

    assert all(len(set(group)) == len(group) for group in texts)
    assert len({tuple(group) for group in texts}) == len(texts)
    assert len({choice.name for choice in choices}) == len(choices)


def test_the_seed_decides_what_is_drawn() -> None:
    assert example_choices("mood", pool("ab" * 8), seed=1) == example_choices("mood", pool("ab" * 8), seed=1)
    one, other = (example_choices("mood", pool("ab" * 8), seed=seed) for seed in (1, 2))
    assert [choice.changes for choice in one] != [choice.changes for choice in other]


def test_demonstrations_without_labels_are_drawn_too() -> None:
    plain = [Demonstration({"text": f"row {at}"}, at) for at in range(4)]

    assert len(example_choices("mood", plain, sizes=[4])) >= 3


def test_thoughts_are_shown_where_there_are_some() -> None:
    (choice,) = example_choices(
        "mood", [Demonstration({"text": "x"}, "a", "It is a.")], draws=1, called="that it solved"
    )

    assert choice.name == "1 example that it solved #1"
    assert choice.changes["mood.examples"] == [{"input": {"text": "x"}, "thoughts": "It is a.", "output": "a"}]


def test_sets_that_are_too_long_are_left_out() -> None:
    length = pool("ab")[0].length

    assert {len(group) for group in drawn("ab" * 8, room=4 * length + 3)} == {2, 4}


@pytest.fixture
def pipeline(folder: Folder) -> Pipeline:
    return folder.load('steps: {mood: {prompt: "Say it.", options: {context: 600}}, other: {prompt: "Say it."}}')


def test_examples_have_a_third_of_the_context(pipeline: Pipeline) -> None:
    assert room_for_examples(pipeline.steps["mood"], model(context=9_000)) == 600
    assert room_for_examples(pipeline.steps["other"], model(context=9_000)) == 9_000
    assert room_for_examples(pipeline.steps["other"], model(context=None)) == 4_096
