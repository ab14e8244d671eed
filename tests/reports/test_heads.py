"""The report of a trained head."""

from __future__ import annotations

import pytest

from promptkit.reports.heads import head_text, next_lines
from tests.engine.heads import written_head

LOW = {"mean": 0.6, "low": 0.5, "high": 0.7}


def test_the_report_has_the_accuracies_of_head_and_baselines_and_what_is_answered() -> None:
    lines = head_text(written_head(rows=("0" * 16,) * 3, tfidf=LOW, majority=LOW), 2.0).splitlines()
    assert lines[0] == "sort: 3 rows, vectors of layer 3, mean · 2.0 s"
    assert [line.split("  ")[0] for line in lines[2:5]] == [
        "head",
        "TF-IDF of words and characters",
        "the most frequent label",
    ]
    assert lines[2].endswith("80.0 %  70.0 to 90.0 %")
    assert (
        lines[5]
        == "at a risk of 0.1 it answers 50% of the rows by itself, 90.0% of these rightly (5.0% of all rows wrongly)"
    )
    assert "TF-IDF is as good" not in "\n".join(lines)


def test_a_baseline_that_is_as_good_is_said() -> None:
    assert "TF-IDF is as good here" in head_text(written_head(), 1.0)


def test_a_head_that_never_answers_is_said() -> None:
    silent = written_head(cascade={"answers": 0.0, "wrongly": 0.0})
    assert "it answers no row by itself: more rows, or a larger --risk" in head_text(silent, 1.0)


@pytest.mark.parametrize("decides", [True, False])
def test_the_next_step_names_the_key_where_the_pipeline_lacks_it(decides: bool) -> None:
    lines = list(next_lines(written_head(), "my mails", "promptkit eval mails --unseen", decides=decides))
    assert any("decide: head" in line for line in lines) != decides
    assert "  promptkit run 'my mails'" in lines
