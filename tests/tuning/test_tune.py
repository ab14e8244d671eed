"""A tuning from beginning to end, on a model whose right answers are known."""

from __future__ import annotations

import pytest

from tests.engine.helpers import Folder
from tests.tuning.tunings import TuneBench, right_where


def cue_pays(text: str) -> float:
    return 0.9 if "Mood:" in text else 0.5


@pytest.fixture
def bench(folder: Folder) -> TuneBench:
    return TuneBench(folder, 200)


async def test_a_pick_that_is_better_is_shown_to_be_improved(bench: TuneBench) -> None:
    ran = await bench.tune(right_where(cue_pays), calls=600)

    assert ran.record["verdict"] == "improved"
    assert "Mood:" in str(ran.record["best"]["changes"])


async def test_calls_are_those_that_were_asked_and_within_the_budget(bench: TuneBench) -> None:
    ran = await bench.tune(right_where(cue_pays), calls=600)

    assert len(ran.runtime.requests) + ran.record["cached"] == ran.record["calls"] <= 600
