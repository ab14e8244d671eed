"""Training a head for a step, from rows to the file that the step then uses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from promptkit.answers.head import read_head
from promptkit.api.train_head import HeadOptions
from promptkit.engine.session import RunSettings
from promptkit.errors import ContextOverflow, InputError, Unsupported
from promptkit.runtimes.base import HiddenState, Request
from promptkit.runtimes.scripted import Scripted
from promptkit.training.head.train import HeadPlan, plan_head, train_head
from promptkit.training.labelled_rows import read_labelled_file
from tests.command import run_command
from tests.engine.heads import Vectors
from tests.engine.helpers import Folder, Given, said

PROMPT = """
---
inputs: {review: {}}
answer: {label: [bad, good]}
cue: "Mood:"
---
{% block instructions %}Is the review good?{% endblock %}
{% block input %}{{ review }}{% endblock %}
"""
PIPELINE = """
inputs: {review: {}}
steps:
  sort: {prompt: ask}
"""
WORDS = {"good": ("fine", "lovely", "great"), "bad": ("dull", "poor", "weak")}


def vector(request: Request) -> tuple[float, ...]:
    """Return a vector that tells the labels apart after layer 3, at the last token."""
    text = said(request)
    number = float(text.rpartition("number ")[2].split()[0].strip(".<"))
    is_good = any(word in text for word in WORDS["good"])
    side = 2.0 if is_good else -2.0
    noise = [((number * 7 + at * 3) % 11) / 11 for at in range(4)]
    return (side, *noise) if request.hidden_state == HiddenState(3, "last") else (0.0, *noise)


class Rows(Folder):
    """A project with a step, and labelled rows for it."""

    def __init__(self, root: Path, rows: int = 24) -> None:
        super().__init__(root)
        self.write("pipelines/ask.j2", PROMPT)
        self.data = root / "rows.jsonl"
        self.label(["good", "bad"] * (rows // 2))

    def label(self, labels: list[str]) -> None:
        """Write a row for each label."""
        unlike = ["".join(chr(97 + (at * step) % 26) for step in (3, 5, 7, 11, 17)) for at in range(len(labels))]
        texts = [f"{unlike[at]} {WORDS[label][at % 3]}, number {at}." for at, label in enumerate(labels)]
        rows = [{"review": text, "label": label} for text, label in zip(texts, labels, strict=True)]
        self.data.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def plan(self, pipeline: str = PIPELINE, *, overwrite: bool = False) -> HeadPlan:
        labelled = read_labelled_file(self.load(pipeline), (), self.data, expect="label", limit=None)
        return plan_head(labelled, risk=0.1, seed=0, overwrite=overwrite)


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    return Rows(tmp_path)


async def test_a_trained_head_decides_the_step_from_then_on(rows: Rows) -> None:
    model, notices = Vectors([], vector), list[str]()
    plan = rows.plan()
    head = await train_head(plan, models=Given(model), settings=RunSettings(), notice=notices.append)
    assert notices == ["24 rows, of each 6 vectors, of the layers 4, 3, 2: 144 prompts to read, nothing to generate"]
    assert len(model.encoded) == 144
    assert not model.requests
    assert head.state == HiddenState(3, "last")
    assert (head.model, head.weights, head.labels) == ("scripted", "weights", ("bad", "good"))
    assert head.accuracy.mean == 1.0
    assert head.rows == plan.labelled.hashes
    assert plan.file == rows.root / "pipelines" / "test.sort.head.json"
    assert read_head(plan.file) == head
    assert str(rows.root) not in plan.file.read_text()

    used = Vectors([], vector)
    decided = PIPELINE.replace("prompt: ask", "prompt: ask, decide: head, otherwise: score")
    assert (await rows.run(decided, used, {"review": "A lovely play, number 7."})).output == "good"
    assert (await rows.run(decided, used, {"review": "A weak play, number 8."})).output == "bad"
    assert not used.requests
    # It is trained again with the head in the pipeline, on the prompt that the step sends without it.
    again = await train_head(rows.plan(decided, overwrite=True), models=Given(model), settings=RunSettings())
    assert again == head


async def test_a_head_is_written_under_the_name_by_which_the_step_reads_it(rows: Rows) -> None:
    named = PIPELINE.replace("prompt: ask", "prompt: ask, decide: head, head: mood.head.json")
    assert rows.plan(named).file == rows.root / "pipelines" / "mood.head.json"


async def test_a_model_without_vectors_is_refused_before_any_request(rows: Rows) -> None:
    model = Scripted([])
    with pytest.raises(Unsupported, match="scripted gives no vectors, which a head needs"):
        await train_head(rows.plan(), models=Given(model), settings=RunSettings())
    assert not model.requests


async def test_a_row_that_does_not_fit_the_window_is_named(rows: Rows) -> None:
    def too_long(request: Request) -> tuple[float, ...]:
        if "number 5." in said(request):
            raise ContextOverflow("the text has 3000 tokens, the window 2048")
        return vector(request)

    with pytest.raises(InputError, match=r"row 6 is too long for a head: the text has 3000 tokens"):
        await train_head(rows.plan(), models=Given(Vectors([], too_long)), settings=RunSettings())
    assert not rows.plan().file.exists()


@pytest.mark.parametrize(
    ("labels", "problem", "hint"),
    [
        (["good", "bad"] * 5, "10 rows are too few for a head: it needs 20", "accuracy of 85% to about ±15 points"),
        (["good"] * 30, "all rows have the label good, and a head needs rows of each", "at least 4 rows of each"),
        (["good"] * 30 + ["bad"] * 3, "a head needs 4 rows of each label: bad has 3", "nor ever answer a label"),
    ],
)
def test_too_few_rows_are_refused_with_the_least_number_and_what_it_shows(
    rows: Rows, labels: list[str], problem: str, hint: str
) -> None:
    rows.label(labels)
    with pytest.raises(InputError) as caught:
        rows.plan()
    (found,) = caught.value.problems
    assert found.message == problem
    assert hint in (found.hint or "")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("answer: text", "a head needs the same closed set of answers"),
        ("technique: chain_of_thought", "technique `chain_of_thought` thinks or asks several times"),
    ],
)
def test_a_step_that_a_head_cannot_decide_is_refused(rows: Rows, change: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        rows.plan(PIPELINE.replace("prompt: ask", f"prompt: ask, {change}"))


def test_an_existing_head_is_kept_unless_it_is_to_be_overwritten(rows: Rows) -> None:
    rows.write("pipelines/test.sort.head.json", "{}")
    with pytest.raises(InputError, match="there is a head already"):
        rows.plan()
    assert rows.plan(overwrite=True).file.exists()


@pytest.mark.parametrize("risk", [0.0, 1.0, -1.0, float("nan")])
def test_a_risk_is_a_share(risk: float) -> None:
    with pytest.raises(InputError, match="--risk is a share between 0 and 1"):
        HeadOptions(risk=risk)


def test_the_command_says_what_is_missing(rows: Rows) -> None:
    rows.write("pipelines/test.yaml", PIPELINE)
    done = run_command("train", "test", "--data", "rows.jsonl", "--expect", "label", folder=rows.root)
    assert (done.code, "say what is to be trained" in done.err) == (2, True)
    asked = ("train", "test", "--head", "--data", "rows.jsonl", "--expect", "label", "--model", "scripted:none.yaml")
    rows.write("none.yaml", "replies: []\n")
    done = run_command(*asked, folder=rows.root)
    assert "gives no vectors, which a head needs" in done.err
