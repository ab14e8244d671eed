"""Intervals of serving under a machine that slows down and recovers between rounds."""

from __future__ import annotations

import numpy as np

from promptkit.evaluation.serving.figures import serving_record
from promptkit.evaluation.serving.measurement import ROUNDS, Block, Served, ServedRow, ServingResult
from promptkit.evaluation.serving.spec import ServingSpec

RUNS = 40
TRUE = 0.8


def test_ratios_cover_the_truth_though_the_machine_drifts() -> None:
    """Every round has its own load, by which a figure alone is uncertain by half."""
    generator = np.random.default_rng(0)
    covered = narrow = 0
    for _ in range(RUNS):
        load = generator.lognormal(0, 0.4, ROUNDS)
        served = []
        for name, true in (("a", 1.0), ("b", TRUE)):
            seconds = true * load[:, None] * generator.lognormal(0, 0.1, (ROUNDS, 10))
            blocks = [Block(rows=[*map(ServedRow, row)], requests=[], elapsed=float(row.sum())) for row in seconds]
            served.append(Served(variant=name, concurrency=1, blocks=blocks))
        record = serving_record(ServingResult(spec=ServingSpec(), served=served, models={}, memory={}, distinct=True))
        (ratio,) = [found for found in record.comparisons if found.figure == "latency"]
        figure = record.levels[1].figures["latency"]
        assert ratio.low and ratio.high and figure.low and figure.high
        covered += ratio.low <= TRUE <= ratio.high
        narrow += ratio.high / ratio.low < figure.high / figure.low
    assert covered >= 0.87 * RUNS
    assert narrow > 0.95 * RUNS
