"""A run of the store says what it said, though its suite is gone."""

from __future__ import annotations

import pytest

from promptkit.errors import InputError
from promptkit.evaluation.stored_run import StoredRun, build_metrics, recomputed_record
from promptkit.runtimes.base import Request
from promptkit.storage.store import Store
from tests.engine.helpers import Folder
from tests.evaluation.suites import SUITE, Bench, echo, moods

METRICS = """
data: {file: rows.jsonl, cluster: of}
target: mood
repeat: 2
metrics:
  accuracy: label
  macro: {f1: {average: macro}}
  micro: {f1: {average: micro}}
  balanced: balanced_accuracy
  exact: exact
  normalized: normalized
  regex: {regex: {pattern: g.*d}}
  contains: contains
  set: {set_f1: {of: "{{ [output] }}", expect: "{{ [row.expect] }}"}}
  edit: edit
  bleu: bleu
  chrf: chrf
  size: {length: {unit: words}}
  tokens: tokens
  latency: latency
  format: format
  agreement: agreement
  once: {pass_at: {k: 1}}
  all: {pass_all: {k: 2, metric: normalized}}
variants: {plain: {}, prefix: {mood.layout: prefix}}
"""


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder, [{**row, "of": number % 3} for number, row in enumerate(moods(8))])


def script(request: Request) -> str:
    return "neither" if " 6" in request.messages[-1].content else echo(request)


async def test_its_metrics_are_built_again_as_they_were(bench: Bench) -> None:
    ran = await bench.run(METRICS, script)
    built = build_metrics(ran.view, bench.folder.project)
    suite = bench.suite(METRICS)

    assert built.gone == {}
    assert {name: metric.key for name, metric in built.metrics.items()} == {
        each.name: each.metric.key for each in suite.measures
    }


async def test_a_killed_run_says_what_it_would_have_said_without_its_suite(bench: Bench) -> None:
    ran = await bench.run(METRICS, script)
    (bench.folder.root / "evals/test.yaml").unlink()
    told = recomputed_record(ran.view, bench.folder.project).to_json()
    gone = {"why", "replayed"}

    assert told["variants"] == ran.record["variants"]
    assert {key: told[key] for key in ("rows", "repeat", "data", "exact", "limited")} == {
        key: ran.record[key] for key in ("rows", "repeat", "data", "exact", "limited")
    }
    assert told.keys() | {"notes"} == ran.record.keys() | {"notes"}
    assert told["model"].keys() - gone == ran.record["model"].keys() - gone


async def test_cells_that_were_not_come_to_are_missing(bench: Bench) -> None:
    ran = await bench.run(SUITE)
    kept = list(ran.view.cells())[:5]
    ran.view.cells = lambda variant=None, *, first=0: iter(kept)  # type: ignore[method-assign]
    (variant,) = recomputed_record(ran.view, bench.folder.project).to_json()["variants"]

    assert (variant["cases"], variant["missing"], variant["metrics"]["accuracy"]["n"]) == (8, 3, 5)


async def test_a_run_that_does_not_say_how_its_metrics_were_made_is_refused(bench: Bench) -> None:
    ran = await bench.run(SUITE)
    ran.view.how = {key: value for key, value in ran.view.how.items() if key != "kinds"}
    with pytest.raises(InputError, match="does not say how its metrics were made"):
        build_metrics(ran.view, bench.folder.project)


async def test_its_cells_read_their_traces(bench: Bench) -> None:
    ran = await bench.run()
    with Store.open(bench.store_folder) as store:
        run = store.run(str(ran.evaluated.number))
        assert run is not None
        view = StoredRun(store, run)
        cells = list(view.cells())
        assert cells and all(cell.trace and cell.trace == view.trace(cell.number) for cell in cells)
