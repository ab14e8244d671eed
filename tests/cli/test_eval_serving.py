"""Serving as a person measures and reads it: in the terminal, as JSON, on the page, and in a comparison of runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run

MODEL = """\
from promptkit.runtimes.base import Reply

def serve(request):
    slow = 2.0 if request.max_tokens == 9 else 1.0
    return Reply(text="payment", tokens_in=50, tokens_out=11, tokens_reused=0, seconds=2.5 * slow,
                 first_token=0.5 * slow, prompt_seconds=0.5 * slow, output_seconds=2.0 * slow)
"""
SUITE = """\
data: [{mail: My card was charged., expect: payment}, {mail: The parcel is late., expect: delivery}]
target: {pipeline: mail, step: topic}
metrics: {accuracy: label}
variants: {fast: {}, slow: {topic.options: {max_tokens: 9}}}
"""
SERVED = ("eval", "topic", "--model", "scripted:serve.py:serve", "--serving", "1,2")


@pytest.fixture(autouse=True)
def suite(project: Path) -> None:
    (project / "evals").mkdir()
    (project / "evals/topic.yaml").write_text(SUITE, "utf-8")
    (project / "serve.py").write_text(MODEL, "utf-8")


def test_the_report_has_accuracy_and_serving_beside_it(promptkit: Run) -> None:
    done = promptkit(*SERVED)
    assert done.code == 0, done.err
    shown = done.out[done.out.index("serving in 5 rounds") :].splitlines()
    assert "accuracy" in done.out and max(map(len, done.out.splitlines())) <= 80
    assert shown[1].split()[:4] == ["concurrent", "first", "token", "p95"]
    assert [line.split()[:2] for line in shown[2:6]] == [["1", "fast"], ["1", "slow"], ["2", "fast"], ["2", "slow"]]
    assert "0.500 s" in shown[2] and "1.000 s" in shown[3]
    ratios = shown[shown.index("slow against fast in the same rounds") :]
    assert [line.split()[-1] for line in ratios[2:6]] == ["worse"] * 4
    assert "`fast`, `slow`: answered by a script" in " ".join(done.out.split())
    assert "--serving 1,2 --html topic.html  # as one page" in done.err
    again = promptkit("runs", "show", "1")
    assert "slow against fast in the same rounds" in again.out


def test_a_run_keeps_what_was_measured(promptkit: Run) -> None:
    record = promptkit(*SERVED, "--json").json
    (first, *_) = record["serving"]["levels"]
    assert (first["variant"], first["concurrency"]) == ("fast", 1)
    assert first["figures"]["tokens_per_second"]["value"] == pytest.approx(5.0)
    assert promptkit("runs", "show", "1", "--json").json["serving"]["concurrency"] == [1, 2]


def test_the_page_has_each_figure(promptkit: Run, project: Path) -> None:
    promptkit(*SERVED, "--html", "run.html")
    page = (project / "run.html").read_text("utf-8")
    assert '<h2 id="serving-title">Serving</h2>' in page
    assert "Ratios to the first variant in the same rounds" in page and "inter token latency" in page


def test_two_runs_show_their_serving_without_a_verdict(promptkit: Run) -> None:
    promptkit(*SERVED)
    promptkit(*SERVED)
    done = promptkit("runs", "compare", "2", "1")
    shown = done.out[done.out.index("serving: measured at different times, so without a verdict") :].splitlines()
    assert [line.split()[0] for line in shown[2:6]] == ["1", "1", "2", "2"]
    within = promptkit("runs", "compare", "1:slow", "1:fast")
    assert "serving: `promptkit runs show` has the ratios" in within.out


def test_wrong_numbers_of_requests_are_refused_before_anything_is_asked(promptkit: Run) -> None:
    done = promptkit("eval", "topic", "--serving", "0,4")
    assert done.code == 2 and "does not name numbers of concurrent requests" in done.err


def test_serving_of_a_suite_can_be_left_out(promptkit: Run, project: Path) -> None:
    (project / "evals/topic.yaml").write_text(SUITE + "serving: 1\n", "utf-8")
    assert "serving" not in promptkit(*SERVED[:-1], "none", "--json").json
