"""Any text as a file of any kind is read or refused with promptkit's own error, within 5 s of CPU and 500 MB.

`benchmarks/fuzz.py` reads as many as one likes.
"""

from __future__ import annotations

import contextlib
import random

import pytest

from promptkit.errors import PromptkitError
from tests.fuzz.kinds import KINDS, Place
from tests.fuzz.limits import limited
from tests.fuzz.mutate import ODD, mutated, odd_files

FILES = {kind: 24 for kind in KINDS} | {"suite": 9, "anything": 4}
CASES = [(kind, number) for kind, count in FILES.items() for number in range(count)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.attack("fuzz")
@pytest.mark.parametrize(("kind", "number"), CASES)
def test_a_fuzzed_file_is_taken_or_refused(place: Place, kind: str, number: int) -> None:
    chance = random.Random(f"{kind} {number}")
    content = mutated(chance, chance.choice(KINDS[kind].real()))

    with limited(), contextlib.suppress(PromptkitError):
        place.read(KINDS[kind], content)


@pytest.mark.attack("number")
@pytest.mark.parametrize("kind", ["pipeline", "prompt", "suite", "settings", "artifact", "script", "baseline"])
def test_each_value_of_a_file_may_be_an_odd_one(place: Place, kind: str) -> None:
    """An odd value in each place, the next one in each; `benchmarks/fuzz.py --every` puts each in each."""
    for number, file_with in enumerate(odd_files(KINDS[kind].real()[0])):
        with limited(), contextlib.suppress(PromptkitError):
            place.read(KINDS[kind], file_with(ODD[number % len(ODD)]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_real_file_of_a_kind_is_taken(place: Place, kind: str) -> None:
    """Else what is made of it would be refused for a reason of its own, and nothing tried."""
    if kind not in ("answer's template", "artifact", "rows: text"):
        place.read(KINDS[kind], KINDS[kind].real()[0])
