"""Tunings that begin with what earlier ones on the same model found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from promptkit.project import LIBRARY
from promptkit.storage.store import Store
from promptkit.tuning.prior.history import TuningHistory
from tests.engine.helpers import Folder
from tests.tuning.tunings import Ran, TuneBench, right_where, truth

CALLS = 260
VARIANTS = """
data: rows.jsonl
target: mood
metrics: {accuracy: label}
variants:
  secret_one: {mood.cue: "My secret:", mood.layout: secret_layout}
"""


def by_cue(text: str) -> float:
    return 0.9 if "Mood:" in text else 0.5


def benches(tmp_path: Path, count: int) -> list[TuneBench]:
    """Return projects with rows of their own."""
    made = []
    for number in range(count):
        bench = TuneBench(Folder(tmp_path / str(number)), 60)
        places = range(1000 * number, 1000 * number + 60)
        bench.rows([{"text": f"row {place} was {truth(place)}", "expect": truth(place)} for place in places])
        made.append(bench)
    return made


async def tuned(bench: TuneBench, **options: Any) -> Ran:
    return await bench.tune(right_where(by_cue), calls=CALLS, only=("decide", "layout"), **options)


def inputs(bench: TuneBench) -> list[Any]:
    with Store.open(bench.store_folder) as store:
        return [run.inputs for run in store.runs()]


async def test_a_tuning_leaves_effects_that_the_next_one_on_the_model_begins_with(tmp_path: Path) -> None:
    first, second = benches(tmp_path, 2)
    cold, warm = await tuned(first), await tuned(second)

    assert cold.tuned.record.prior is None
    prior = warm.tuned.record.prior
    assert prior is not None
    assert prior.tunings == 1
    best = max(prior.effects, key=lambda effect: effect.effect)
    assert best.axis == "mood.decide"
    assert "Mood:" in best.level
    note = next(note for note in warm.record["notes"] if "prior from" in note)
    assert note.startswith("prior from 1 earlier tuning on this model (--cold starts without); most was expected of")
    assert f"mood.decide: {best.level}" in note


async def test_a_cold_start_takes_nothing_and_leaves_as_much(tmp_path: Path) -> None:
    first, second, third = benches(tmp_path, 3)
    await tuned(first)
    cold = await tuned(second, cold=True)

    assert cold.tuned.record.prior is None
    prior = (await tuned(third)).tuned.record.prior
    assert prior is not None
    assert prior.tunings == 2


async def test_the_same_command_makes_the_same_choices_whatever_was_found_since(tmp_path: Path) -> None:
    first, second = benches(tmp_path, 2)
    before = await tuned(second)
    await tuned(first)
    again = await tuned(second)
    other = await tuned(second, seed=1)

    assert again.tuned.record.prior is None
    assert again.record["best"] == before.record["best"]
    assert len(again.runtime.requests) == 0
    assert other.tuned.record.prior is not None


async def test_an_interrupted_tuning_goes_on_with_the_prior_that_it_began_with(tmp_path: Path) -> None:
    first, second, third = benches(tmp_path, 3)
    await tuned(first)
    await tuned(second)
    with Store.open(second.store_folder) as store:
        store.end_run(1, "incomplete", {})
    await tuned(third)
    resumed = (await tuned(second)).tuned.record.prior

    assert resumed is not None
    assert resumed.tunings == 1
    assert [entry["prior"]["tunings"] for entry in inputs(second)] == [1, 1]


async def test_nothing_of_the_project_is_in_the_file(tmp_path: Path) -> None:
    [bench] = benches(tmp_path, 1)
    bench.folder.write("templates/layouts/secret_layout.j2", (LIBRARY / "templates/layouts/xml.j2").read_text())
    await bench.tune(right_where(by_cue), text=VARIANTS, calls=CALLS)
    text = TuningHistory().file.read_text()

    assert not any(word in text for word in ("secret", "Mood", "mood", "row 1", "Say whether", "good", str(tmp_path)))
    kinds = json.loads(text)["effects"]
    assert {kind.partition(":")[0] for kind in kinds} >= {"decide", "layout", "examples", "wording"}


async def test_a_damaged_history_is_a_note_and_the_tuning_is_cold(tmp_path: Path) -> None:
    [bench] = benches(tmp_path, 1)
    file = TuningHistory().file
    file.parent.mkdir(parents=True)
    file.write_text("{broken\n")
    ran = await tuned(bench)

    assert ran.tuned.status == "done"
    assert ran.tuned.record.prior is None
    assert any("1 line is ignored" in note for note in ran.record["notes"])


async def test_few_calls_race_what_earlier_tunings_expect_most_of(tmp_path: Path) -> None:
    def by_both(text: str) -> float:
        return 0.4 + 0.3 * ("Mood:" in text) + 0.25 * ('"input"' in text)

    *earlier, last = benches(tmp_path, 3)
    for bench in earlier:
        await bench.tune(right_where(by_both), calls=CALLS, only=("decide", "layout"))
    ran = await last.tune(right_where(by_both), calls=120, only=("decide", "layout"))

    raced = [entry["choices"] for entry in ran.record["candidates"] if entry["stage"] == "race"]
    assert "screen" not in [stage["name"] for stage in ran.record["stages"]]
    assert any("Mood:" in choices.get("mood.decide", "") and "mood.layout" in choices for choices in raced)
