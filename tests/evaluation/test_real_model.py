"""A shipped suite on the real small model: what differs when nothing does, and what a second run asks."""

from __future__ import annotations

from pathlib import Path

from promptkit.evaluation.cells.saver import ReplyCache
from promptkit.evaluation.evaluate import Evaluation
from promptkit.evaluation.suite.reader import load_suite
from promptkit.project import LIBRARY, Project
from promptkit.runtimes.in_process.embedded import Embedded
from promptkit.storage.store import Store
from tests.embedded import embedded, model_file  # noqa: F401
from tests.evaluation.suites import Given

SUITE = """
data: {file: reviews.jsonl, sample: 4, seed: 3}
target: sentiment
expect: "{{ row.label }}"
metrics: {accuracy: label}
variants: {a: {}, b: {}}
"""


async def test_a_variant_against_itself_asked_anew_is_shown_no_different(
    tmp_path: Path,
    embedded: Embedded,  # noqa: F811
) -> None:
    (tmp_path / "promptkit.yaml").write_text("model: auto\n")
    rows = (LIBRARY / "evals/data/sentiment.jsonl").read_text("utf-8")
    (tmp_path / "reviews.jsonl").write_text(rows, encoding="utf-8")
    (tmp_path / "suite.yaml").write_text(SUITE)
    suite = load_suite(tmp_path / "suite.yaml", Project.find(tmp_path))
    asked = []
    with Store.open(tmp_path / ".promptkit") as store, ReplyCache(store) as replies:
        for _ in range(2):
            models = Given(embedded, replies)
            client = await models.get()
            evaluated = await Evaluation(suite, models=models, store=store).run()
            asked.append(client.statistics.requests)

    (comparison,) = evaluated.record.to_json()["comparisons"]
    assert evaluated.status == "done"
    assert asked == [8, 0]
    assert comparison["n"] == 4
    assert comparison["low"] <= 0 <= comparison["high"]
