"""Verdicts of confirmations in looks, and of budgets that hold only a part of one."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tuning_simulated import Bound, at_least, at_most

from tests.engine.helpers import Folder
from tests.tuning.confirmations import confirmed
from tests.tuning.dear_picks import A_ROW, tuned
from tests.tuning.test_budget import Clock

NULLS = [(18, 0.4), (36, 0.3), (98, 0.05), (98, 0.25), (200, 0.2)]
GAINS = [(36, 0.3, 0.2), (60, 0.3, 0.15), (98, 0.25, 0.1), (98, 0.3, 0.2), (200, 0.2, 0.07), (200, 0.4, 0.3)]
"""Confirm rows, the share of them that differ, and the true gain."""
BEYOND = (0, 40, 200, 400)
TIMES = (1, 2, 3, 4, 6)
ROWS = 100


def confirmations(tunings: int) -> Iterator[Bound]:
    """Confirm picks of known truth in looks; print what they end with, and yield what is promised."""
    print(f"\n{tunings} confirmations each, in looks and on all rows at once, %")
    print(f"{'rows':>6}{'differ':>9}{'gain':>7}{'`improved`':>13}{'all rows':>11}{'rows used':>12}")
    for units, discordant, gain in [*((*null, 0.0) for null in NULLS), *GAINS]:
        found = confirmed(units, discordant, gain, tunings=tunings, seed=0)
        shares = f"{100 * found.improved:13.1f}{100 * found.fixed:11.1f}{100 * found.used:12.0f}"
        print(f"{units:6}{100 * discordant:9.0f}{100 * gain:7.0f}{shares}")
        of = f"{units} confirm rows in looks, {100 * discordant:.0f} % differ"
        if gain:
            lost = 100 * (found.improved - found.fixed)
            yield at_least(f"power against all rows, {of}, +{100 * gain:.0f}", least=-4, measured=lost)
        else:
            yield at_most(f"false `improved`, {of}, %", most=3.5, measured=100 * found.improved)


def budgets() -> bool:
    """Tune with budgets of each kind whose picks cost 1 to 6 times the start; return whether all end with a verdict."""
    settings = [(limit, beyond, times) for limit in A_ROW for beyond in BEYOND for times in TIMES]
    without = 0
    print(f"{ROWS} rows; budgets by the rows of the start that they hold beyond the least")
    print(f"{'limit':<10}{'beyond':>8}{'pick':>6}{'pairs':>12}  verdict")
    for limit, beyond, times in settings:
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
            ran = asyncio.run(tuned(Folder(Path(folder)), Clock(patched), limit, beyond=beyond, times=times, rows=ROWS))
        record = ran.record
        course = record["confirmation"] or {"rows": 0, "units": record["rows"]["confirm"]}
        without += not course["rows"] and record["best"]["changes"] != {}
        pairs = f"{course['rows']} of {course['units']}"
        print(f"{limit:<10}{beyond:>8}{times:>5}x{pairs:>12}  {record['verdict']}: {record['why']}")
    print(f"{without} of {len(settings)} budgets end without a verdict")
    return without == 0
