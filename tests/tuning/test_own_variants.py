"""A person's own variants: where they come from, which are refused, and that they race."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptkit.errors import InputError
from promptkit.tuning.options import TuneOptions
from promptkit.tuning.own_variants import OwnVariant, own_candidates, own_variants, with_own_choices
from promptkit.tuning.search_space.candidate import Choice, Parameter
from tests.engine.helpers import Folder
from tests.tuning.planted import noted
from tests.tuning.tunings import PROMPT, TuneBench, right_where

PIPELINE = """
name: mood
inputs: {text: {example: fine}}
steps:
  mood: {prompt: mood}
"""
SUITE = """
data: rows.jsonl
target: mood
metrics: {accuracy: label}
"""
VARIANTS = f"""{SUITE}
variants:
  plain: {{}}
  tone: {{mood.cue: "Tone:", mood.layout: json}}
  large: {{model: embedded/smollm2}}
"""


@pytest.fixture
def bench(folder: Folder) -> TuneBench:
    made = TuneBench(folder, 60)
    folder.write("pipelines/mood.yaml", PIPELINE)
    return made


def tried(bench: TuneBench, *texts: str, suite: str = SUITE) -> list[OwnVariant]:
    return own_variants(bench.start(suite), texts)[0]


def problem(bench: TuneBench, text: str) -> str:
    with pytest.raises(InputError) as caught:
        tried(bench, text)
    return str(caught.value)


def test_the_variants_of_the_target_s_suite_are_tried_but_one_on_another_model(bench: TuneBench) -> None:
    variants, notes = own_variants(bench.start(VARIANTS), ())

    assert variants == [OwnVariant("variant tone", {"mood.cue": "Tone:", "mood.layout": "json"})]
    assert notes == ["variant large is not tried: it names another model"]


def test_variants_of_another_target_are_not_tried(bench: TuneBench) -> None:
    other = bench.folder.write("pipelines/copy.yaml", PIPELINE.replace("mood", "copy", 1))

    assert own_variants(bench.start(VARIANTS, target=other), ()) == ([], [])


def test_variants_that_cannot_be_read_are_a_note(bench: TuneBench) -> None:
    variants, notes = own_variants(bench.start(VARIANTS.replace("layout: json", "layuot: json")), ())

    assert variants == []
    assert notes == ["the variants of `test` are not tried: variant `tone`: mood.layuot: unknown key `layuot`"]


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("mood.cue=Tone:", {"mood.cue": "Tone:"}),
        ("mood.options.max_tokens=8", {"mood.options.max_tokens": 8}),
        ("mood.technique={self_consistency: {samples: 3}}", {"mood.technique": {"self_consistency": {"samples": 3}}}),
    ],
)
def test_a_setting_is_a_variant(bench: TuneBench, text: str, changes: dict[str, object]) -> None:
    assert tried(bench, text) == [OwnVariant(text, changes)]


def test_a_prompt_takes_the_place_of_the_target_s(bench: TuneBench, monkeypatch: pytest.MonkeyPatch) -> None:
    file = bench.folder.write("templates/prompts/mood_b.j2", PROMPT.replace("Say whether", "Judge whether"))
    monkeypatch.chdir(bench.folder.root)

    changes = {"mood.prompt": "../templates/prompts/mood_b.j2"}
    assert tried(bench, str(file), "mood_b") == [OwnVariant("mood_b.j2", changes), OwnVariant("mood_b", changes)]


def test_a_pipeline_is_what_its_steps_change(bench: TuneBench) -> None:
    bench.folder.write("pipelines/mood.yaml", PIPELINE.replace("mood}", "mood, layout: json, cue: none}"))
    step = 'mood, cue: "Tone:", answer: {label: [yes, no]}}'
    file = bench.folder.write("pipelines/mood_b.yaml", PIPELINE.replace("mood}", step))

    assert tried(bench, str(file)) == [
        OwnVariant("mood_b.yaml", {"mood.cue": "Tone:", "mood.answer": {"label": ["yes", "no"]}, "mood.layout": None})
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("mood.cuee=Tone:", "unknown key `cuee`"),
        ("other.cue=Tone:", "there is no step `other`"),
        ("nothing", "there is no such file"),
        ("a=b", "it is no file and no STEP.KEY=VALUE"),
        ("mood.model=embedded", "it names another model"),
        ("{root}/pipelines/mood.yaml", "it is the target itself"),
        ("{root}/pipelines/same.yaml", "it is the same as"),
        ("{root}/pipelines/steps.yaml", "it has a step `second`"),
        ("{root}/pipelines/output.yaml", "its `output` differs"),
        ("{root}/templates/prompts/inputs.j2", "the input `message`"),
        ("{root}/evals/rows.jsonl", "it is no prompt (`.j2`) and no pipeline (`.yaml`)"),
    ],
)
def test_what_is_no_variant_of_the_target_is_refused(bench: TuneBench, text: str, why: str) -> None:
    bench.folder.write("pipelines/same.yaml", PIPELINE.replace("name: mood", "name: same"))
    bench.folder.write("pipelines/steps.yaml", f"{PIPELINE}  second: {{prompt: mood}}\n")
    bench.folder.write("pipelines/output.yaml", f'{PIPELINE}output: "{{{{ mood }}}}!"\n')
    bench.folder.write("templates/prompts/inputs.j2", PROMPT.replace("text", "message"))
    shown = problem(bench, text.format(root=bench.folder.root))

    assert why in shown
    assert shown.count("--try") >= 1


def test_all_that_is_wrong_is_told_at_once(bench: TuneBench) -> None:
    with pytest.raises(InputError) as caught:
        tried(bench, "nothing", "mood.cue=Tone:", "a=b")

    assert len(caught.value.problems) == 2


def test_dspy_s_optimizers_refuse_variants() -> None:
    with pytest.raises(InputError, match="`gepa` tries no variants"):
        TuneOptions(optimizer="gepa", tried=("a.b=c",))


DECIDE = Parameter(
    name="mood.decide", step="mood", kind="decide", choices=(Choice("as written"), Choice("no", {"mood.cue": "none"}))
)
VARIANT = OwnVariant("variant tone", {"mood.cue": "Tone:", "mood.layout": "json"})


def test_a_variant_s_changes_are_choices_of_what_varies_and_of_parameters_of_their_own() -> None:
    [candidate] = own_candidates([VARIANT], [DECIDE])

    assert candidate.changes == VARIANT.changes
    assert candidate.record() == {"mood.decide": "variant tone", "mood.layout": "variant tone"}


def test_a_variant_that_is_a_choice_already_is_that_choice() -> None:
    [candidate] = own_candidates([OwnVariant("variant mute", {"mood.cue": "none"})], [DECIDE])

    assert candidate.record() == {"mood.decide": "no"}


def test_a_variant_s_changes_are_tried_with_others_too_where_such_a_thing_varies(bench: TuneBench) -> None:
    [extended] = with_own_choices([DECIDE], [VARIANT], bench.start(SUITE))

    assert [choice.name for choice in extended.choices] == ["as written", "no", "variant tone"]


async def test_a_variant_races_and_is_confirmed_only_if_it_wins(bench: TuneBench, tmp_path: Path) -> None:
    def by_tone(text: str) -> float:
        return 0.95 if "Tone:" in text else 0.5

    best = await bench.tune(right_where(by_tone), text=VARIANTS, calls=200, only=("layout",), tried=("mood.cue=Mood:",))

    assert best.record["best"]["choices"] == {"mood.cue": "variant tone", "mood.layout": "json"}
    raced = {entry["name"] for entry in best.record["candidates"]}
    assert {"layout: json · cue: variant tone", "cue: mood.cue=Mood:"} <= raced
    assert best.record["verdict"] == "improved"


async def test_a_variant_of_a_step_in_which_nothing_else_varies_races(folder: Folder) -> None:
    bench, target = noted(folder, 60, "{note.layout: [xml, markdown]}")
    ran = await bench.tune(
        right_where(lambda text: 0.7),
        text=SUITE.replace("target: mood", "target: noted"),
        target=target,
        calls=300,
        only=("note",),
        tried=("mood.cue=Tone:",),
    )

    assert "mood.cue: mood.cue=Tone:" in {entry["name"] for entry in ran.record["candidates"]}


async def test_a_variant_of_several_steps_is_noted_where_each_step_is_tuned_alone(folder: Folder) -> None:
    bench, target = noted(folder, 60, "{note.layout: [xml, markdown], mood.layout: [xml, markdown]}")
    ran = await bench.tune(
        right_where(lambda text: 0.7),
        text=SUITE.replace("target: mood", "target: noted")
        + "variants: {plain: {}, two: {note.layout: markdown, mood.layout: markdown}, one: {note.cue: 'Note:'}}\n",
        target=target,
        calls=500,
        mode="stepwise",
    )

    [text] = [note for note in ran.record["notes"] if "is not tried" in note]
    assert "variant two" in text or "layout: markdown" in text
    assert any("note.cue: variant one" in entry["name"] for entry in ran.record["candidates"])
