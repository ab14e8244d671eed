"""Intervals of serving under a machine that slows down and recovers between rounds."""

from __future__ import annotations

import numpy as np
import pytest

from promptkit.evaluation.serving.figures import serving_record
from promptkit.evaluation.serving.measurement import ROUNDS, Block, Served, ServedRow, ServingResult
from promptkit.evaluation.serving.spec import ServingSpec
from tests.engine.helpers import Folder
from tests.evaluation.suites import SUITE, Bench

RUNS = 40
TRUE = 0.8


@pytest.fixture
def suite(folder: Folder) -> Bench:
    return Bench(folder)


def test_ratios_cover_the_truth_though_the_machine_drifts(suite: Bench) -> None:
    """Every round has its own load, by which a figure alone is uncertain by half."""
    variants = suite.suite(f"{SUITE}variants: {{a: {{}}, b: {{mood.layout: prefix}}}}\n").variants
    generator = np.random.default_rng(0)
    covered = narrow = 0
    for _ in range(RUNS):
        load = generator.lognormal(0, 0.4, ROUNDS)
        served = []
        for place, (variant, true) in enumerate(zip(variants, (1.0, TRUE), strict=True)):
            seconds = true * load[:, None] * generator.lognormal(0, 0.1, (ROUNDS, 10))
            blocks = [Block(rows=[ServedRow(float(one)) for one in row], elapsed=float(row.sum())) for row in seconds]
            served.append(Served(variant=variant, place=place, concurrency=1, blocks=blocks))
        record = serving_record(ServingResult(spec=ServingSpec(), served=served, models={}, memory={}, distinct=True))
        (ratio,) = [found for found in record.comparisons if found.figure == "latency"]
        figure = record.levels[1].figures["latency"]
        assert ratio.low and ratio.high and figure.low and figure.high
        covered += ratio.low <= TRUE <= ratio.high
        narrow += ratio.high / ratio.low < figure.high / figure.low
    assert covered >= 0.87 * RUNS
    assert narrow > 0.95 * RUNS
