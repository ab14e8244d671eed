"""Whatever a model says, a technique that searches or checks ends within its formula, with an answer or without one."""

from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptkit.runtimes.base import Request
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import Bench, flat, without

FRAGMENTS = [
    *(
        "",
        "\n",
        "1.",
        "- a",
        "2. b (high)",
        "#1. c",
        "#2.",
        "sure",
        "impossible",
        "not sure",
        "The best choice is 9",
        "?",
    ),
    *("Verdict: FALSE", "Verdict: TRUE", "it floats.", "true", "false", "entails", "contradicts", "Who?", "{", "[1]"),
    *("CONSISTENT", "Output: 7", "Output:", "7", "Step 2: x", "\u2028", "é" * 300),
]
REPLIES = st.lists(
    st.lists(st.sampled_from(FRAGMENTS), max_size=5).map("\n".join) | st.text(max_size=40), min_size=1, max_size=6
)
SPECS: list[dict[str, Any]] = [
    {"tree_of_thoughts": {"depth": 2, "candidates": 2}},
    {"tree_of_thoughts": {"variant": "dfs", "nodes": 3, "generate": "sample", "evaluate": "vote", "final": False}},
    {"tree_of_thoughts": {"variant": "dfs", "nodes": 4, "proposals": 2}},
    {"logical_thoughts": {"steps": 3, "revisions": 2}},
    {"maieutic": {"width": 1}},
    {"verify_and_edit": {"samples": 2, "folder": "texts"}},
    {"chain_of_verification": {"variant": "revise", "questions": 3}},
    {"chain_of_verification": {"variant": "joint"}},
    {"chain_of_verification": {"variant": "two_step"}},
]


@pytest.mark.parametrize(
    "spec", SPECS, ids=lambda spec: "-".join(map(str, [*spec, *next(iter(spec.values())).values()]))
)
@pytest.mark.parametrize("decide", ["generate", "constrain"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(replies=REPLIES, continues=st.booleans())
async def test_a_technique_ends_within_its_formula(
    tmp_path: Path, spec: dict[str, Any], decide: Any, replies: list[str], continues: bool
) -> None:
    def script(request: Request) -> str:
        if request.grammar:
            return "true" if "true" in request.grammar else "7"
        return replies[crc32(f"{flat(request)} {request.sample}".encode("utf-8", "surrogatepass")) % len(replies)]

    (tmp_path / "texts").mkdir(exist_ok=True)
    (tmp_path / "texts" / "one.md").write_text("it floats. Who? a b c")
    lacking = () if continues else ("continue",)
    answer_type = "boolean" if "maieutic" in spec else "number"
    bench = Bench(tmp_path, script, answer_type, capabilities=without(*lacking))

    answer = await perform(spec, bench.step(decide=decide, folder=tmp_path))

    most = cost(configure(spec, bench.project), bench.project, decide=decide)
    beliefs = sum(record.call == "belief" for record in bench.records)
    spared = beliefs * 4 / 5 if not continues else 0  # without a turn to continue, each belief is five samples
    assert sum(record.requests for record in bench.records) - spared <= most.requests
    assert max(record.level for record in bench.records) <= most.depth
    assert (answer.value is None) == (answer.flag is not None) or answer.flag == "truncated"
