"""A suite is read with everything that is wrong in it told at once, each at its place."""

from __future__ import annotations

import pytest

from tests.engine.helpers import Folder
from tests.evaluation.suites import SUITE, Bench


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder)


def told(bench: Bench, text: str) -> list[tuple[int | None, str]]:
    return [(problem.line, problem.message) for problem in bench.problems(text)]


def test_a_short_suite_takes_fields_of_the_inputs_names_and_the_field_expect(bench: Bench) -> None:
    suite = bench.suite()

    assert suite.name == "test"
    assert suite.target == "mood"
    assert [variant.name for variant in suite.variants] == ["baseline"]
    assert [measure.metric.kind for measure in suite.measures] == ["label"]
    assert suite.inputs is None and suite.expect is None


def test_the_matrix_is_multiplied_with_the_named_variants_in_order(bench: Bench) -> None:
    suite = bench.suite(
        SUITE
        + """variants: {short: {}, long: {mood.cue: "The mood is:"}}
matrix: {mood.layout: [xml, prefix], mood.decide: [constrain, generate]}
"""
    )

    names = [variant.name for variant in suite.variants]
    assert names[:3] == [
        "short layout=xml decide=constrain",
        "short layout=xml decide=generate",
        "short layout=prefix decide=constrain",
    ]
    assert len(names) == 8
    assert suite.variants[-1].sets == {"mood.cue": "The mood is:", "mood.layout": "prefix", "mood.decide": "generate"}
    step = suite.variants[-1].pipeline.steps["mood"]
    assert step.prompt_call is not None and step.prompt_call.cue == "The mood is:"


def test_a_matrix_alone_makes_variants_named_by_their_values(bench: Bench) -> None:
    suite = bench.suite(SUITE + "matrix: {mood.technique: [vanilla, {self_consistency: {samples: 3}}]}\n")

    names = [variant.name for variant in suite.variants]
    assert names == ["technique=vanilla", "technique=self_consistency(samples=3)"]


def test_a_variant_may_name_a_model_for_all_steps(bench: Bench) -> None:
    suite = bench.suite(SUITE + "variants: {one: {}, two: {model: ollama/qwen2.5}}\n")

    assert [variant.model for variant in suite.variants] == [None, "ollama/qwen2.5"]


def test_everything_wrong_is_told_at_once_with_line_and_column(bench: Bench) -> None:
    found = told(
        bench,
        """
data: {file: rows.jsonl, sampel: 3}
target: mod
metrics:
  accuracy: lable
repeats: 3
""",
    )

    assert (1, "unknown key `sampel`") in found
    assert (2, "there is no pipeline or prompt `mod`") in found
    assert any(line == 5 and "unknown key `repeats`" in message for line, message in found)


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        (SUITE.replace("accuracy: label", "accuracy: lable"), "there is no metric `lable`"),
        (SUITE.replace("accuracy: label", "close: {number: {tolerence: 1}}"), "unknown key `tolerence`"),
        (SUITE.replace("accuracy: label", "a: {exact: {}, label: {}}"), "`a` must be one kind of metric"),
        (SUITE + "expect: '{{ label }}'\n", "unknown name `label`"),
        (SUITE + "inputs: {text: '{{ row.text | nope }}'}\n", "nope"),
        (SUITE + "variants: {a: {mood.layuot: xml}}\n", "layuot"),
        (SUITE + "variants: {a: {mod.layout: xml}}\n", "mod"),
        (SUITE + "variants: {a: {model: 'no such'}}\n", "no such"),
        (SUITE + "variants: [a]\n", "variants"),
        (SUITE + "thresholds: {acuracy: {at_least: 0.8}}\n", "there is no metric or warning `acuracy`"),
        (SUITE + "thresholds: {accuracy: {}}\n", "the threshold has no bound"),
        (SUITE + "steps: {moods: {metrics: {a: label}}}\n", "there is no step `moods`"),
        (SUITE + "repeat: 0\n", "repeat"),
        (SUITE.replace("target: mood", "target: {pipeline: mood, step: moo}"), "has no step `moo`"),
        (
            SUITE.replace("rows.jsonl", f"{{file: rows.jsonl, split: {{share: 0.4, salt: {'9' * 20}}}}}"),
            "`salt`: must be less",
        ),
        (SUITE.replace("data: rows.jsonl", "data: rows.json"), "no such file"),
        (SUITE.replace("data: rows.jsonl", "data: ../../rows.jsonl"), "leaves the project"),
        (SUITE.replace("data: rows.jsonl", "data: [1, 2]"), "a row must be a mapping"),
        (SUITE.replace("data: rows.jsonl", "data: {python: rows.py}"), "FILE.py:FUNCTION"),
        (SUITE.replace("data: rows.jsonl", "data: {seed: 3}"), "`data` has one of `file` and `python`"),
        (SUITE.replace("metrics: {accuracy: label}", "metrics: {}"), "metrics"),
        (SUITE + "compare: {margin: {acuracy: 0.02}}\n", "there is no metric `acuracy`"),
        (SUITE + "compare: {margin: {accuracy: 2}}\n", "the margin of `accuracy` must be above 0 and below 1, not 2"),
        (SUITE + "compare: {margin: {accuracy: 0}}\n", "the margin of `accuracy` must be above 0 and below 1, not 0"),
        (SUITE + "compare: {pairs: some}\n", "pairs"),
        (
            SUITE + f"compare: {{pairs: all}}\nmatrix: {{mood.options.seed: {list(range(21))}}}\n",
            "all pairs of 21 variants are too many to compare",
        ),
        (SUITE.replace("target: mood\n", ""), "`target` is missing"),
    ],
)
def test_each_mistake_is_told_in_the_suite_with_its_line(bench: Bench, suite: str, message: str) -> None:
    problems = bench.problems(suite)

    assert any(message in problem.message for problem in problems), problems
    assert all(problem.file and problem.file.endswith("test.yaml") and problem.line for problem in problems)


@pytest.mark.parametrize("name", ["tokens", "latency", "cost", "unparsed"])
def test_a_metric_has_no_name_by_which_thresholds_call_a_total(bench: Bench, name: str) -> None:
    suite = SUITE.replace("accuracy: label", f"{name}: exact, same: exact")

    (problem,) = bench.problems(suite + f"thresholds: {{{name}: {{at_most: 0.5}}, same: {{at_least: 0.5}}}}\n")

    assert f"`{name}` is the name of a total in thresholds" in problem.message
    assert problem.line == 3


@pytest.mark.parametrize("name", ["tokens", "latency"])
def test_a_metric_that_is_the_total_may_have_its_name(bench: Bench, name: str) -> None:
    suite = SUITE.replace("accuracy: label", f"{name}: {name}")

    assert bench.problems(suite + f"thresholds: {{{name}: {{at_most: 100}}}}\n") == []


def test_a_mistake_in_the_target_is_told_in_its_file(bench: Bench) -> None:
    bench.folder.write("pipelines/mood.yaml", "inputs: {text: {}}\nsteps: {mood: {prompt: moood}}\n")

    problems = bench.problems(SUITE)

    assert [problem.file is not None and problem.file.endswith("mood.yaml") for problem in problems] == [True]


def test_labels_of_a_variant_are_the_words_that_are_written(bench: Bench) -> None:
    suite = bench.suite(SUITE + "matrix: {mood.answer: [{label: [yes, no]}, {label: [01, 2.0]}]}\n")

    answers = [variant.pipeline.steps["mood"].prompt_call for variant in suite.variants]
    assert [list(each.answer.labels) for each in answers if each] == [["yes", "no"], ["01", "2.0"]]  # type: ignore[union-attr]


def test_a_step_with_labels_of_its_own_is_a_suite_of_its_own(bench: Bench) -> None:
    bench.folder.write(
        "pipelines/two.yaml",
        """
        inputs: {text: {example: fine}}
        steps:
          mood: {prompt: mood}
          say: {prompt: "Say {{ mood }}.", with: {mood: "{{ mood }}"}}
        """,
    )
    suite = bench.suite(
        """
data: rows.jsonl
target: two
metrics: {same: {contains: {text: fine}}}
variants: {a: {}, b: {mood.layout: prefix}, c: {say.layout: prefix}}
steps:
  mood: {expect: "{{ row.expect }}", metrics: {accuracy: label}}
"""
    )

    (step,) = suite.steps
    assert (step.name, step.target) == ("test.mood", "two.mood")
    assert [variant.name for variant in step.variants] == ["a", "b"]
    assert list(step.baseline.pipeline.steps) == ["mood"]


MAPPED = """
name: mapped
inputs: {text: {example: fine}}
steps:
  mood: {prompt: mood}
output: {mood: "{{ mood }}", text: "{{ text }}"}
"""


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ('{exact: {of: "{{ output.mod }}"}}', "the output has no `mod`"),
        ('{exact: {of: "{{ steps.mod }}"}}', "there is no step `mod`"),
        ("label", "`label` compares one value, and the output is a mapping of `mood`, `text`"),
        ('{contains: {text: "{{ row.text }}"}}', "`text` is taken as it is written"),
        ('{contains: {any: ["a", "{{ row.text }}"]}}', "`any` is taken as it is written"),
    ],
)
def test_what_a_metric_could_never_find_is_told_before_the_run(bench: Bench, metric: str, message: str) -> None:
    bench.folder.write("pipelines/mapped.yaml", MAPPED)

    problems = bench.problems(f"data: rows.jsonl\ntarget: mapped\nmetrics: {{a: {metric}}}\n")

    assert [problem.message for problem in problems] == [message]


def test_the_methods_of_a_mapping_may_be_read_of_an_output(bench: Bench) -> None:
    bench.folder.write("pipelines/mapped.yaml", MAPPED)
    of = '"{{ output.values() | list }}"'

    assert not bench.problems(f"data: rows.jsonl\ntarget: mapped\nmetrics: {{a: {{set_f1: {{of: {of}}}}}}}\n")


def test_an_input_that_the_target_does_not_have_is_told(bench: Bench) -> None:
    (problem,) = bench.problems(SUITE + "inputs: {text: '{{ row.text }}', txt: a}\n")

    assert problem.message == "the target has no input `txt`"
    assert problem.hint == "did you mean `text`?"
