"""`self_consistency` (Wang et al. 2023): independent samples, one vote over values; `over` samples other techniques."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError, Unsupported
from promptkit.prompts.prompt import Example
from promptkit.runtimes.base import Alternative, Reply, Request, Token
from promptkit.runtimes.client import Client
from promptkit.techniques.context import Answer, Options
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import check_spec, configure
from tests.techniques.steps import ALL, MARKED, Bench, flat, marked_example, without

EXAMPLES = (Example({"question": "FIRST?"}, 4, "R-ONE"),)
PATHS = ["a Output: 18.", "b\nOutput: $26.", "c\nOutput: 26.0", "d\nOutput: 18.", "e\nOutput: 26 dollars."]
DECIDED = [" 18", " 26", " 26.0", " 18", " 26"]


def spec(**parameters: Any) -> dict[str, Any]:
    return {"self_consistency": parameters}


async def ask(bench: Bench, technique: Any = "self_consistency", **settings: Any) -> Answer:
    return await perform(technique, bench.step(**{"examples": EXAMPLES, "decide": "generate", **settings}))


def by_sample(*stages: Sequence[str]) -> Callable[[Request], str]:
    """Return a script: each sample has its own reply at each of its stages, whatever the order of arrival."""
    asked: dict[str, int] = {}

    def script(request: Request) -> str:
        stage = asked[request.sample] = asked.get(request.sample, -1) + 1
        return stages[stage][int(request.sample.rpartition("/")[2])]

    return script


async def test_the_value_that_most_paths_reach_wins_however_it_is_written(tmp_path: Path) -> None:
    bench = Bench(tmp_path, PATHS)

    answer = await ask(bench)

    assert answer.value == 26
    assert answer.extra == {"votes": [{"value": 18, "weight": 2}, {"value": 26, "weight": 3}], "unparsed": 0}
    assert len(bench.texts) == 5
    assert answer.last is not None and answer.last.text == PATHS[1]


async def test_under_constrain_each_path_is_decided_by_a_request_of_its_own_at_temperature_0(tmp_path: Path) -> None:
    bench = Bench(tmp_path, by_sample(PATHS, DECIDED))

    answer = await ask(bench, decide="constrain")

    thinking, deciding = bench.runtime.requests[:5], bench.runtime.requests[5:]
    assert (answer.value, len(deciding)) == (26, 5)
    assert [request.sample for request in deciding] == [request.sample for request in thinking]
    assert {request.temperature for request in deciding} == {0.0}
    assert deciding[2].begun == "c\nOutput:"
    assert bench.levels == [("reason", 1)] * 5 + [("reason", 2)] * 5


async def test_all_samples_are_one_prompt_asked_warm_under_numbers_of_their_own(tmp_path: Path) -> None:
    bench = Bench(tmp_path, PATHS)

    await ask(bench)

    assert len(set(bench.texts)) == 1
    assert [request.sample for request in bench.runtime.requests] == ["0/0", "0/1", "0/2", "0/3", "0/4"]
    assert {request.temperature for request in bench.runtime.requests} == {0.7}


class Memory:
    """A cache that keeps what it is given."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def cached(self, key: str) -> str | None:
        return self.kept.get(key)

    async def keep(self, key: str, value: str) -> None:
        self.kept[key] = value


async def test_through_the_cache_each_sample_is_asked_once_and_more_samples_keep_the_first_ones(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [*PATHS, "f\nOutput: 18", "g\nOutput: 18"])
    client = Client(bench.runtime, store=Memory())

    async def value_of(samples: int) -> Any:
        step = bench.step(examples=EXAMPLES, decide="generate")
        return (await perform(spec(samples=samples), replace(step, client=client))).value

    assert await value_of(5) == 26
    assert await value_of(5) == 26
    assert len(bench.runtime.requests) == 5
    assert await value_of(7) == 18
    assert len(bench.runtime.requests) == 7


async def test_a_tie_goes_to_the_value_seen_first_in_the_order_of_the_samples(tmp_path: Path) -> None:
    bench = Bench(tmp_path, by_sample(["Output: 9", "Output: 7", "Output: 7", "Output: 9"]))

    answer = await ask(bench, spec(samples=4))

    assert answer.value == 9


async def test_a_tie_is_a_warning(tmp_path: Path) -> None:
    warned: list[str] = []

    await ask(Bench(tmp_path, ["Output: 1", "Output: 2"]), spec(samples=2), warn=warned.extend)
    await ask(Bench(tmp_path, ["Output: 1", "Output: 2", "Output: 2"]), spec(samples=3), warn=warned.extend)

    assert warned == ["tie"]


@pytest.mark.parametrize("over", ["vanilla", {"instructed": {"over": "vanilla"}}])
async def test_samples_of_an_answer_that_is_scored_are_an_error_before_the_first_request(
    tmp_path: Path, over: Any
) -> None:
    bench = Bench(tmp_path, [], {"label": ["yes", "no"]})

    with pytest.raises(InputError, match="all samples would be the same"):
        await ask(bench, spec(samples=2, over=over), decide="score")

    assert not bench.records


async def test_paths_that_were_all_cut_off_say_what_allows_more_tokens(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda request: Reply(text="so many", finish="length"))

    answer = await ask(bench, spec(samples=2))

    assert (answer.flag, answer.value) == ("truncated", None)
    assert "a larger `max_tokens` helps" in (answer.problem or "")


@pytest.mark.parametrize(
    ("parameters", "options", "tokens"),
    [
        ({}, {}, 256),
        ({}, {"max_tokens": 900}, 900),
        ({"max_tokens": 500}, {}, 500),
        ({"max_tokens": 9}, {"max_tokens": 5}, 5),
    ],
)
async def test_a_path_has_the_tokens_of_the_technique_within_those_of_the_step(
    tmp_path: Path, parameters: dict[str, Any], options: dict[str, Any], tokens: int
) -> None:
    bench = Bench(tmp_path, by_sample(PATHS, DECIDED))

    await ask(bench, spec(**parameters), decide="constrain", options=Options(**options))

    assert {request.max_tokens for request in bench.runtime.requests[:5]} == {tokens}


async def test_its_token_bound_is_refused_where_another_technique_writes_the_paths(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="chains of self_consistency's own"):
        await ask(Bench(tmp_path, []), spec(max_tokens=9, over="chain_of_thought"))


async def test_a_path_without_an_answer_is_out_of_the_vote_and_counted(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["no idea", "none", "a\nOutput: 3"])

    answer = await ask(bench, spec(samples=3))

    assert (answer.value, answer.flag, answer.extra["unparsed"]) == (3, None, 2)
    assert answer.extra["votes"] == [{"value": 3, "weight": 1}]


async def test_without_any_answer_there_is_no_value_and_the_flag_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["no idea"] * 5)

    answer = await ask(bench)

    assert (answer.value, answer.flag) == (None, "unparsed")
    assert answer.extra == {"votes": [], "unparsed": 5}
    assert all(record.problem for record in bench.records)


async def test_one_sample_is_one_path_asked_warm(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [PATHS[1]])

    answer = await ask(bench, spec(samples=1))

    (request,) = bench.runtime.requests
    assert (answer.value, request.sample, request.temperature) == (26, "0/0", 0.7)


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"samples": 0}, "samples"),
        ({"samples": 2.5}, "samples"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": 2.5}, "temperature"),
        ({"over": "chain_of_thougt"}, "chain_of_thougt"),
        ({"over": {"pal": {"sample": 2}}}, "sample"),
        ({"over": {"self_consistency": {"over": {"pal": {"samples": 0}}}}}, "samples"),
    ],
)
def test_what_is_wrong_in_its_settings_is_told_at_check_at_any_depth(
    tmp_path: Path, parameters: dict[str, Any], named: str
) -> None:
    (problem,) = check_spec(spec(**parameters), Bench(tmp_path, []).project)

    assert named in problem.message


@pytest.mark.parametrize("parameters", [{"samples": 0}, {"temperature": 0.0}])
@pytest.mark.parametrize("over", [{}, {"over": "pal"}])
async def test_no_samples_and_no_warmth_are_errors_before_the_first_request(
    tmp_path: Path, parameters: dict[str, Any], over: dict[str, Any]
) -> None:
    bench = Bench(tmp_path, [])

    with pytest.raises(InputError, match="samples ≥ 1 and temperature > 0"):
        await ask(bench, spec(**parameters, **over))


async def test_a_runtime_that_cannot_sample_is_an_error_before_the_first_request(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [], capabilities=without("sampling"))

    with pytest.raises(Unsupported, match="`self_consistency` needs sampling"):
        await ask(bench, {"instructed": {"over": "self_consistency"}})


async def test_without_examples_that_think_the_instructions_ask_for_thoughts(tmp_path: Path) -> None:
    bench = Bench(tmp_path, PATHS)

    await ask(bench, examples=())

    assert "INSTRUCTIONS-MARK\nThink step by step first." in bench.texts[0]


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [*PATHS[:2], *DECIDED[:2]], prompt=MARKED)

    await ask(bench, spec(samples=2), decide="constrain", examples=(marked_example(2),))

    assert bench.shown == [("reason", ALL)] * 4


PAL = {"pal": {"attempts": 1}}
PROGRAMS = [f"def solution():\n    return {value}" for value in (18, 26, 26.0)]
CHAINS = [" 9*2. Some say 99.", " 13*2. Some say 99.", " 26, clearly. Some say 99."]
VALUES = [" 18", " 26", " 26.0"]
ANSWERED = [f" E Answer:{value}\nWrong explanation: x\nWrong answer: 99" for value in VALUES]
SYMBOLS = [f"A//B so we get the result as{value}" for value in VALUES]
SOLVED = [f"1. \\boxed{{99}}\n# Solve the initial problem:\nIt is{value}" for value in VALUES]

OVER = {
    "chain_of_thought": ((), (CHAINS, VALUES), (CHAINS, VALUES)),
    "plan_and_solve": ((), (CHAINS, VALUES), (CHAINS, VALUES)),
    "pal": (EXAMPLES, (PROGRAMS,), (PROGRAMS,)),
    "contrastive_cot": (EXAMPLES, (ANSWERED,), (ANSWERED, VALUES)),
    "chain_of_symbol": ((), (SYMBOLS,), (SYMBOLS, VALUES)),
    "analogical": ((), (SOLVED,), (SOLVED, VALUES)),
}
"""Each technique with the user's examples, and the replies to three samples by stage, generated and constrained."""


@pytest.mark.parametrize("name", OVER)
@pytest.mark.parametrize("decide", ["generate", "constrain"])
async def test_over_another_technique_each_sample_runs_all_of_it_and_the_answers_are_voted_over(
    tmp_path: Path, name: str, decide: str
) -> None:
    examples, generated, constrained = OVER[name]
    stages = generated if decide == "generate" else constrained
    bench = Bench(tmp_path, by_sample(*stages))

    answer = await ask(bench, spec(samples=3, over=name), decide=decide, examples=examples)

    first = bench.runtime.requests[:3]
    assert answer.value == 26
    assert answer.extra["votes"] == [{"value": 18, "weight": 1}, {"value": 26, "weight": 2}]
    assert len(bench.texts) == 3 * len(stages)
    assert len({flat(request) for request in first}) == 1
    assert [request.sample for request in first] == ["0/0", "0/1", "0/2"]
    assert {request.temperature for request in first} == {0.7}
    assert {request.temperature for request in bench.runtime.requests[3:]} <= {0.0}
    assert [record.level for record in bench.records] == [stage for stage in range(1, len(stages) + 1) for _ in first]


@pytest.mark.parametrize(
    ("over", "replies", "sampled", "greedy"),
    [
        ("vanilla", [" 26"], ["answer"], []),
        ({"instructed": {"over": "vanilla"}}, [" 26"], ["answer"], []),
        ("logical_thoughts", [" a", "yes", "no", "Verdict: TRUE", " 26"], ["think"], ["extract"]),
        ({"tree_of_thoughts": {"depth": 1}}, [" 26", " 26"], ["propose"], ["answer"]),
        ("chain_of_verification", ["26", "Who?", "Ann", "26"], ["baseline", "plan", "execute", "final"], []),
        ("system_2_attention", ["the rest", " 26"], ["rewrite", "answer"], []),
    ],
)
async def test_what_a_sample_decides_after_its_thoughts_is_greedy_and_an_answer_that_it_writes_is_sampled(
    tmp_path: Path, over: Any, replies: list[str], sampled: list[str], greedy: list[str]
) -> None:
    bench = Bench(tmp_path, by_sample(*([reply] * 2 for reply in replies)))

    answer = await ask(bench, spec(samples=2, over=over), examples=())

    heats = {record.call: record.request.temperature for record in bench.records}
    assert answer.extra["votes"] == [{"value": 26, "weight": 2}]
    assert {heats[call] for call in sampled} == {0.7}
    assert {heats[call] for call in greedy} <= {0.0}


async def test_a_sample_begins_anew_whatever_was_asked_before_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["the rest", " 18", " 26", " 26"])

    answer = await ask(bench, {"system_2_attention": {"over": spec(samples=3, over="vanilla")}}, examples=())

    assert answer.value == 26
    assert [request.temperature for request in bench.runtime.requests] == [0.0, 0.7, 0.7, 0.7]


async def test_the_temperature_of_the_step_is_that_of_the_thoughts(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [" a", "yes", "no", "Verdict: TRUE", " 26"])

    await ask(bench, "logical_thoughts", examples=(), options=Options(temperature=0.5, top_p=0.9))

    asked = [(request.temperature, request.top_p) for request in bench.runtime.requests]
    assert asked == [(0.5, 0.9)] * 4 + [(0.0, None)]


@pytest.mark.parametrize("name", OVER)
@pytest.mark.parametrize("decide", ["generate", "constrain"])
async def test_over_another_technique_it_costs_as_many_times_as_much_as_that(
    tmp_path: Path, name: str, decide: str
) -> None:
    project = Bench(tmp_path, []).project

    over = PAL if name == "pal" else name
    alone = cost(configure(over, project), project, decide=decide)
    sampled = cost(configure(spec(samples=3, over=over), project), project, decide=decide)

    assert (sampled.calls, sampled.requests) == (3 * alone.calls, 3 * alone.requests)
    assert sampled.depth == alone.depth
    assert alone.requests == len(OVER[name][1 if decide == "generate" else 2])


@pytest.mark.parametrize("decide", ["generate", "constrain"])
async def test_it_costs_what_it_says(tmp_path: Path, decide: str) -> None:
    bench = Bench(tmp_path, by_sample(PATHS, DECIDED))

    await ask(bench, decide=decide)

    most = cost(configure("self_consistency", bench.project), bench.project, decide=decide)
    assert (most.calls, most.requests, most.depth) == (5, len(bench.texts), len(bench.texts) // 5)


async def test_two_levels_deep_each_inner_sample_has_a_path_of_numbers_and_the_votes_are_voted_over(
    tmp_path: Path,
) -> None:
    values = {
        "0/0/0": 1,
        "0/0/1": 1,
        "0/0/2": 7,
        "0/1/0": 5,
        "0/1/1": 5,
        "0/1/2": 2,
        "0/2/0": 5,
        "0/2/1": 3,
        "0/2/2": 5,
    }
    bench = Bench(tmp_path, lambda request: f"def solution():\n    return {values[request.sample]}")
    technique = spec(samples=3, over=spec(samples=3, over=PAL))

    answer = await ask(bench, technique)

    assert answer.value == 5
    assert answer.extra["votes"] == [{"value": 1, "weight": 1}, {"value": 5, "weight": 2}]
    assert sorted(request.sample for request in bench.runtime.requests) == sorted(values)
    assert cost(configure(technique, bench.project), bench.project).requests == 9


async def test_a_modifier_between_reaches_every_call_of_what_is_sampled(tmp_path: Path) -> None:
    bench = Bench(tmp_path, by_sample(CHAINS, VALUES))

    answer = await ask(bench, spec(samples=3, over={"instructed": {"over": "plan_and_solve"}}), examples=())

    assert (answer.value, len(bench.texts)) == (26, 6)
    assert all("Feel free to ignore irrelevant information" in text for text in bench.texts)
    assert [record.call for record in bench.records] == ["solve"] * 3 + ["extract"] * 3


async def test_a_sample_of_another_technique_that_fails_is_out_of_the_vote(tmp_path: Path) -> None:
    bench = Bench(tmp_path, by_sample(["def solution():\n    return 1 / 0", "no program", PROGRAMS[1]]))

    answer = await ask(bench, spec(samples=3, over=PAL))

    assert (answer.value, answer.extra["unparsed"]) == (26, 2)


async def test_a_technique_that_samples_by_itself_numbers_its_samples_below_the_enclosing_ones(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda request: "Output: 3" if "Several students" in flat(request) else "because")
    over = {"ensemble_refinement": {"first": 2, "samples": 1, "temperature": 1.2}}

    answer = await ask(bench, spec(samples=2, over=over))

    first = [request for request in bench.runtime.requests if "Several students" not in flat(request)]
    assert answer.extra["votes"] == [{"value": 3, "weight": 2}]
    assert sorted(request.sample for request in first) == ["0/0/0", "0/0/1", "0/1/0", "0/1/1"]
    assert {request.temperature for request in bench.runtime.requests} == {1.2}
    assert len(bench.texts) == cost(configure(spec(samples=2, over=over), bench.project), bench.project).calls == 6


async def test_labels_are_scored_after_each_path_where_the_step_scores(tmp_path: Path) -> None:
    def leaning(request: Request) -> Reply | str:
        if request.max_tokens > 1:
            return f"path {request.sample}"
        weights = (-0.1, -2.0) if "path 0/1" in flat(request) else (-2.0, -0.1)
        shown = tuple(Alternative(text, weight) for text, weight in zip((b" yes", b" no"), weights, strict=True))
        return Reply(text=" yes", tokens=(Token(shown[0].piece, shown[0].logprob, shown),))

    bench = Bench(tmp_path, leaning, {"label": ["yes", "no"]})

    answer = await ask(bench, spec(samples=3), decide="score", examples=())

    assert answer.value == "no"
    assert answer.extra["votes"] == [{"value": "no", "weight": 2}, {"value": "yes", "weight": 1}]


async def test_a_runtime_that_cannot_continue_gets_each_path_as_a_turn(tmp_path: Path) -> None:
    bench = Bench(tmp_path, by_sample(CHAINS, VALUES), capabilities=without("continue"))

    answer = await ask(bench, spec(samples=3, over="plan_and_solve"), examples=())

    assert answer.value == 26
    assert bench.texts[0].strip().endswith("and show the answer.")
    assert all(len(request.messages) == 3 for request in bench.runtime.requests[3:])
