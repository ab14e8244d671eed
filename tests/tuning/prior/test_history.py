"""The file of effects: what it holds, for whom it counts, and what bad lines and disks do."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from promptkit.tuning.prior.effect_prior import Estimate
from promptkit.tuning.prior.history import HISTORY_FILE, StepEffects, TuningHistory


def effects(model: str = "m", answer: str = "label", rows: tuple[str, ...] = ("a",), mean: float = 0.1) -> StepEffects:
    return StepEffects(model=model, answer=answer, rows=list(rows), effects={"layout: json": (mean, 0.01)})


@pytest.fixture
def history(tmp_path: Path) -> TuningHistory:
    return TuningHistory(tmp_path / "data" / HISTORY_FILE)


def test_without_a_file_there_are_no_earlier_tunings(history: TuningHistory) -> None:
    assert history.earlier("m", "label", []) == []
    assert history.notes == []


def test_the_data_folder_is_the_user_s_unless_the_environment_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert TuningHistory().file == Path(os.environ["PROMPTKIT_DATA"]) / HISTORY_FILE
    monkeypatch.delenv("PROMPTKIT_DATA")
    assert TuningHistory().file.parts[-2:] == ("promptkit", HISTORY_FILE)


def test_tunings_on_the_same_model_and_kind_of_answer_count_the_newest_first(history: TuningHistory) -> None:
    for entry in (effects(rows=("a",)), effects(rows=("b",)), effects("other", rows=("c",)), effects(answer="number")):
        history.add(entry)

    assert [entry.rows for entry in history.earlier("m", "label", ["z"])] == [["b"], ["a"]]
    assert history.earlier("m", "label", ["z"])[0].estimates == {"layout: json": Estimate(0.1, 0.01)}


def test_data_that_this_tuning_holds_out_in_part_do_not_count(history: TuningHistory) -> None:
    history.add(effects(rows=("a", "b")))

    assert history.earlier("m", "label", ["b", "c"]) == []


def test_of_tunings_on_the_same_rows_the_newest_counts(history: TuningHistory) -> None:
    for mean in (0.1, 0.2):
        history.add(effects(mean=mean))

    assert [entry.effects["layout: json"][0] for entry in history.earlier("m", "label", [])] == [0.2]


def test_what_is_found_again_is_not_written_again(history: TuningHistory) -> None:
    for _ in range(2):
        history.add(effects())

    assert len(history.file.read_text().splitlines()) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_the_file_is_for_its_owner_only(history: TuningHistory) -> None:
    history.add(effects())

    assert stat.S_IMODE(history.file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "line",
    ["nonsense", "[]", '{"version": 1}', json.dumps({**json.loads(effects().model_dump_json()), "version": 2}), "\0"],
)
def test_a_damaged_line_and_one_of_another_version_are_ignored_with_a_note(history: TuningHistory, line: str) -> None:
    history.add(effects())
    with history.file.open("a") as file:
        file.write(f"{line}\n")

    assert len(history.earlier("m", "label", [])) == 1
    assert [note.split(" in ")[0] for note in history.notes] == ["1 line is ignored"]


def test_a_file_that_cannot_be_read_or_written_is_a_note(history: TuningHistory) -> None:
    history.file.mkdir(parents=True)
    history.add(effects())

    assert history.earlier("m", "label", []) == []
    assert any("earlier tunings are not used" in note for note in history.notes)
    assert any("not kept for later ones" in note for note in history.notes)
