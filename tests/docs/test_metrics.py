"""The page of metrics is what the metrics say about themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from promptkit.errors import MissingExtra
from promptkit.evaluation.metrics import similarity
from promptkit.evaluation.metrics.base import Metric, MetricContext, Sample
from promptkit.evaluation.metrics.estimation import Graded, Proportion, Unbounded
from promptkit.evaluation.metrics.registry import kind_named, kinds
from promptkit.evaluation.metrics.similarity import Corpus
from promptkit.evaluation.suite.reader import load_suite
from promptkit.project import Project
from tests.docs.metrics import AMOUNT, CORPUS, EXTRAS, GRADED, PAGE, RIGHT, SAID, page

PROMPT = "---\ninputs: {text: {example: a}}\nanswer: {label: [a, b]}\n---\n{% block input %}{{ text }}{% endblock %}\n"


def test_the_page_is_current() -> None:
    assert PAGE.read_text("utf-8") == page(), "write it anew: python -m tests.docs.refresh docs/metrics.md"


def test_every_kind_is_on_it() -> None:
    assert tuple(SAID) == kinds()


@pytest.mark.parametrize(
    ("said", "family"), [(RIGHT, Proportion), (GRADED, Graded), (AMOUNT, Unbounded), (CORPUS, Corpus)]
)
def test_what_is_said_of_a_family_is_said_of_its_kinds_alone(said: tuple[str, str], family: type[Metric]) -> None:
    told = {word for word in kinds() if SAID[word][1:] == said}
    assert {word for word in kinds() if issubclass(kind_named(word), family)} >= told


def built(word: str, tmp_path: Path, **parameters: Any) -> Metric:
    kind = kind_named(word)
    return kind(word, kind.Parameters(**parameters), MetricContext(project=Project(tmp_path), folder=tmp_path))


def method(metric: Metric, scores: np.ndarray[Any, Any]) -> str:
    rows = np.arange(len(scores))
    found = metric.difference(Sample(scores[:, :1], rows, rows), Sample(scores[:, 1:], rows, rows))
    assert found is not None
    return found.method


def test_the_comparisons_are_named_as_the_code_names_them(tmp_path: Path) -> None:
    some = np.random.default_rng(0).random((30, 2))
    assert method(built("exact", tmp_path), some.round()) == "Tango's interval, McNemar's mid-p"
    assert method(built("edit", tmp_path), some) == GRADED[1]
    assert method(built("tokens", tmp_path), some + 1) == AMOUNT[1]


@pytest.mark.parametrize("word", kinds())
def test_every_example_can_stand_in_a_suite(word: str, tmp_path: Path) -> None:
    (tmp_path / "p.j2").write_text(PROMPT, "utf-8")
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "mine.py").write_text("def score(output):\n    return 1\n", "utf-8")
    suite = tmp_path / "suite.yaml"
    suite.write_text(f"data: [{{text: a}}]\ntarget: p.j2\nmetrics:\n  it: {SAID[word].example}\n", "utf-8")
    (measure,) = load_suite(suite, Project(tmp_path)).measures
    assert measure.metric.kind == word


@pytest.mark.parametrize("word", ["bleu", "chrf", "rouge"])
def test_an_extra_is_named_where_it_is_needed(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=EXTRAS[word]):
        built(word, tmp_path)
