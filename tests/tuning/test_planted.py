"""Hidden faults of a prompt, and choices that only pay together, which a tuning must find."""

from __future__ import annotations

from itertools import takewhile
from typing import Any, ClassVar

import pytest

from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import request_text
from tests.engine.helpers import Folder
from tests.tuning.logs import number_in
from tests.tuning.planted import ADVISED_SUITE, FAULTY, STEP_LABELS, WRONG, advise, advised, faults, noted, reviews
from tests.tuning.tunings import Ran, TuneBench, luck, row_of, truth

ONE_STEP_CALLS, TOGETHER_CALLS = 500, 540
KINDS = ("decide", "examples", "layout", "wording")

NOTED_SUITE = "data: rows.jsonl\ntarget: noted\nmetrics: {accuracy: label}\n"
LAYOUTS = "{note.layout: [xml, markdown, json], mood.layout: [xml, markdown, json]}"


def faulty(request: Request) -> str:
    right = truth(row_of(request))
    return right if luck(row_of(request), (0.95, 0.8, 0.65, 0.5)[faults(request)]) else WRONG[right]


async def test_three_faults_of_one_step_are_found(folder: Folder) -> None:
    bench = TuneBench(folder, 160, prompt=FAULTY)
    bench.rows(reviews(160))
    ran = await bench.tune(faulty, calls=ONE_STEP_CALLS)

    changes = ran.record["best"]["changes"]
    assert changes["mood.layout"] != "json"
    assert "mood.examples" in changes
    assert changes["mood.answer"]["label"].keys() == {"good", "bad"}
    assert ran.record["verdict"] == "improved"
    assert ran.record["calls"] <= ONE_STEP_CALLS


@pytest.mark.parametrize(
    ("mode", "calls", "kinds"), [("stepwise", 900, KINDS), ("joint", 900, KINDS), ("both", 1_300, ())]
)
async def test_three_faults_in_two_steps_are_found(
    folder: Folder, mode: str, calls: int, kinds: tuple[str, ...]
) -> None:
    bench, target = advised(folder, 120)
    how: dict[str, Any] = {"calls": calls, "mode": mode, "only": kinds}
    ran = await bench.tune(advise, text=ADVISED_SUITE + STEP_LABELS, target=target, **how)

    changes = ran.record["best"]["changes"]
    assert changes["tone.layout"] != "json"
    assert "tone.examples" in changes
    assert "advice.answer" in changes
    assert ran.record["verdict"] == "improved"
    assert ran.record["calls"] <= calls


async def test_steps_with_labels_are_asked_alone_on_the_inputs_of_the_data_the_last_first(folder: Folder) -> None:
    bench, target = advised(folder, 60)
    how: dict[str, Any] = {"calls": 500, "mode": "stepwise", "only": KINDS}
    ran = await bench.tune(advise, text=ADVISED_SUITE + STEP_LABELS, target=target, **how)

    stages = ran.record["stages"]
    assert list(dict.fromkeys(entry["step"] for entry in stages)) == ["advice", "tone", None]
    asked = [request_text(request) for request in ran.runtime.requests[4 * 8 :]]  # The start, twice.
    alone = list(takewhile(lambda text: "Say what to do with it." in text, asked))
    assert len(alone) > 50
    assert all(f"Tone: {truth(number_in(text))}" in text for text in alone)


THINKS = "step by step"
THOUGHT = "It says so."


def thinking_pays(request: Request) -> str:
    """Answer right on half of the rows, and on 95 % after thoughts in a request of their own."""
    number, text = row_of(request), request_text(request)
    has_thought = THOUGHT in text.rpartition(f"row {number} was")[2]
    if THINKS in text and not has_thought and request.grammar is None:
        return THOUGHT
    return truth(number) if luck(number, 0.95 if has_thought else 0.5) else WRONG[truth(number)]


@pytest.mark.parametrize("count", [50, 200])
async def test_thinking_in_a_request_of_its_own_is_found_at_the_usual_budget(folder: Folder, count: int) -> None:
    ran = await TuneBench(folder, count).tune(thinking_pays, only=("technique", "layout"))

    assert ran.record["best"]["changes"]["mood.technique"] in ("chain_of_thought", "metacognitive")
    assert ran.record["verdict"] == "improved"


class TestChoicesThatOnlyPayTogether:
    """In markdown the note is long; a mood is then told better in markdown too, and worse where only one is so."""

    SHARES: ClassVar = {(False, False): 0.7, (True, False): 0.5, (False, True): 0.5, (True, True): 0.95}
    TOGETHER: ClassVar = {"note.layout": "markdown", "mood.layout": "markdown"}

    def answer(self, request: Request) -> str:
        text, number = request_text(request), row_of(request)
        is_markdown = "##" in text
        if "Note what is said" in text:
            return f"{'long' if is_markdown else 'short'} note: row {number} was"
        share = self.SHARES["long note" in text, is_markdown]
        return truth(number) if luck(number, share) else WRONG[truth(number)]

    async def tune(self, folder: Folder, **options: Any) -> Ran:
        bench, target = noted(folder, 80, LAYOUTS)
        return await bench.tune(self.answer, text=NOTED_SUITE, target=target, calls=TOGETHER_CALLS, **options)

    async def test_each_step_alone_misses_them(self, folder: Folder) -> None:
        ran = await self.tune(folder, mode="stepwise")

        assert ran.record["best"]["changes"] != self.TOGETHER
        assert ran.record["verdict"] == "not shown"

    @pytest.mark.parametrize("mode", ["joint", "both"])
    async def test_the_steps_together_find_them(self, folder: Folder, mode: str) -> None:
        ran = await self.tune(folder, mode=mode)

        assert ran.record["best"]["changes"] == self.TOGETHER
        assert ran.record["verdict"] == "improved"
