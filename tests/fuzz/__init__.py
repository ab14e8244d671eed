"""Fuzzed files: real ones with bytes or values changed, read as the verbs read them, within limits.

`tests/journeys/test_fuzz.py` reads a few hundred of them, `benchmarks/fuzz.py` as many as are asked for.
"""

from __future__ import annotations

from tests.fuzz.kinds import KINDS, Kind, Place
from tests.fuzz.limits import Limit, limited
from tests.fuzz.mutate import ODD, mutated, odd_files

__all__ = ["KINDS", "ODD", "Kind", "Limit", "Place", "limited", "mutated", "odd_files"]
