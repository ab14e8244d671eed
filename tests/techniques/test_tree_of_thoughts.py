"""`tree_of_thoughts` (Yao et al. 2023): a state is judged before it is built on, and what is pruned is not built on."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import CAPABILITIES
from promptkit.techniques.catalog.tree_of_thoughts import CLASSES
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import ALL, MARKED, Bench, flat, in_order, marked_example, without

PROPOSING, WRITING, JUDGING, VOTING = "List possible next", "Write only step", "Look ahead", "Compare several"
STEPS = ("ALFA", "BRAVO", "CHARLIE", "DELTA", "XRAY", "YANKEE", "ZULU")
BEAM = {"depth": 2, "breadth": 1, "candidates": 2, "final": False}
DEEP = {"variant": "dfs", "depth": 2, "candidates": 2, "final": False}


def path_in(text: str) -> tuple[str, ...]:
    """Return the steps that a request holds, in their order."""
    return tuple(sorted((step for step in STEPS if step in text), key=text.index))


def tree(
    proposals: Mapping[tuple[str, ...], str], values: Mapping[str, str], answer: str = "LAST"
) -> Callable[[Request], str]:
    """Return a script that proposes by the path so far, and judges by its last step."""

    def script(request: Request) -> str:
        text = flat(request)
        if JUDGING in text:
            return values[path_in(text)[-1]]
        return proposals[path_in(text)] if PROPOSING in text else answer

    return script


BREADTH = tree(
    {(): "1. ALFA\n2. BRAVO", ("BRAVO",): "1. CHARLIE\n2. DELTA"},
    {"ALFA": "So so.\nlikely", "BRAVO": "sure", "CHARLIE": "It is not sure.\nimpossible", "DELTA": "sure"},
)
DEPTH = tree(
    {(): "XRAY (high)\nYANKEE (low)", ("YANKEE",): "ZULU (certain)"},
    {"XRAY": "impossible", "YANKEE": "sure", "ZULU": "sure"},
)


async def ask(bench: Bench, parameters: Mapping[str, Any], decide: Any = "generate") -> Any:
    spec = {"tree_of_thoughts": dict(parameters)}
    answer = await perform(spec, bench.step(decide=decide))
    most = cost(configure(spec, bench.project), bench.project, decide=decide)
    assert most.calls == most.requests >= sum(record.requests for record in bench.records)
    assert most.depth >= max(record.level for record in bench.records)
    return answer


@pytest.mark.parametrize("decide", ["generate", "constrain"])
async def test_a_beam_keeps_the_best_state_of_each_level_and_returns_the_best_of_the_last(
    tmp_path: Path, decide: str
) -> None:
    bench = Bench(tmp_path, BREADTH, "text")

    answer = await ask(bench, BEAM, decide)

    proposing = [text for text in bench.texts if PROPOSING in text]
    judging = [path_in(text) for text in bench.texts if JUDGING in text]
    assert (answer.value, answer.extra["path"], len(bench.texts)) == ("DELTA", ["BRAVO", "DELTA"], 6)
    assert [path_in(text) for text in proposing] == [(), ("BRAVO",)]
    assert judging == [("ALFA",), ("BRAVO",), ("BRAVO", "CHARLIE"), ("BRAVO", "DELTA")]


async def test_the_formula_is_what_a_search_at_its_caps_asks(tmp_path: Path) -> None:
    bench = Bench(tmp_path, BREADTH, "text")

    await ask(bench, BEAM)

    assert cost(configure({"tree_of_thoughts": BEAM}, bench.project), bench.project).calls == len(bench.texts)


async def test_a_final_call_answers_from_the_best_path_and_sees_no_rejected_step(tmp_path: Path) -> None:
    bench = Bench(tmp_path, BREADTH, "text")

    answer = await ask(bench, {**BEAM, "final": True})

    assert (answer.value, len(bench.texts)) == ("LAST", 7)
    assert path_in(bench.texts[-1]) == ("BRAVO", "DELTA")
    assert in_order(bench.texts[-1], ["QUESTION-MARK", "BRAVO", "DELTA"])


async def test_a_final_call_whose_turn_begins_with_the_path_leaves_no_place_for_a_models_own_thoughts(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, BREADTH, "text", capabilities=CAPABILITIES | {"think", "thinks"})

    answer = await ask(bench, {**BEAM, "final": True})

    *before, last = bench.runtime.requests
    assert answer.value == "LAST"
    assert all(request.thought_tokens for request in before)
    assert (last.think, last.thought_tokens) == (False, 0)
    assert last.begun


async def test_what_belongs_to_one_level_of_the_tree_may_run_at_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, BREADTH, "text")

    await ask(bench, {**BEAM, "final": True})

    assert bench.levels == [
        ("propose", 1),
        ("value", 2),
        ("value", 2),
        ("propose", 3),
        ("value", 4),
        ("value", 4),
        ("answer", 5),
    ]


async def test_all_states_of_a_wider_beam_are_built_on(tmp_path: Path) -> None:
    script = tree(
        {(): "ALFA\nBRAVO", ("ALFA",): "CHARLIE", ("BRAVO",): "DELTA"},
        {"ALFA": "likely", "BRAVO": "sure", "CHARLIE": "sure", "DELTA": "likely"},
    )
    bench = Bench(tmp_path, script, "text")

    answer = await ask(bench, {**BEAM, "breadth": 2})

    assert answer.extra["path"] == ["ALFA", "CHARLIE"]


async def test_a_vote_sees_all_candidates_and_most_votes_win(tmp_path: Path) -> None:
    written = iter(["ALFA", "BRAVO", "CHARLIE"])
    votes = iter(["The best choice is 1", "The best choice is 2", "Choice 1 is bad.\nThe best choice is 2."])
    bench = Bench(tmp_path, lambda request: next(votes if VOTING in flat(request) else written), "text")

    answer = await ask(
        bench,
        {
            "generate": "sample",
            "evaluate": "vote",
            "candidates": 3,
            "evaluations": 3,
            "evaluation_temperature": 0.7,
            "depth": 1,
            "breadth": 1,
            "final": False,
        },
    )

    assert (answer.value, len(bench.texts)) == ("BRAVO", 6)
    assert [path_in(text) for text in bench.texts if VOTING in text] == [("ALFA", "BRAVO", "CHARLIE")] * 3
    assert bench.levels == [*[("sample", 1)] * 3, *[("vote", 2)] * 3]
    assert len({request.sample for request in bench.runtime.requests[3:]}) == 3


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("Choice 1 is good.\nThe best choice is 2 (left: 8, 14).", 2),
        ("The best choice is 1? No.\nthe best choice is **choice 3**", 3),
        ("Choice 1 is bad.\n2.", 2),
        ("Choice 1 is bad.\nChoice 2", 2),
        ("Best choice: 2", 2),
        ("Choice 2 is best.", 2),
        ("**I pick choice 2.**", 2),
        ("Choice 1 is bad.", 1),
        ("The best choice is 9", None),
        ("", None),
    ],
)
async def test_a_vote_is_what_a_reply_ends_in(tmp_path: Path, reply: str, choice: int | None) -> None:
    bench = Bench(tmp_path, lambda request: reply if VOTING in flat(request) else "ALFA\nBRAVO\nCHARLIE", "text")

    await ask(bench, {**BEAM, "depth": 1, "candidates": 3, "evaluate": "vote"})

    assert bench.records[-1].parsed == choice


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("It fits.\nVerdict: sure", "sure"),
        ("It fits.\nsure", "sure"),
        ("It is likely.", "likely"),
        ("**Verdict:** Impossible.", "impossible"),
        ("Verdict: likely, since two are left", "likely"),
        ("It is impossible to be sure", None),
        ("Verdict: not sure", None),
    ],
)
async def test_a_state_has_the_value_of_the_verdict(tmp_path: Path, reply: str, verdict: str | None) -> None:
    bench = Bench(tmp_path, lambda request: reply if JUDGING in flat(request) else "ALFA", "text")

    answer = await ask(bench, {**BEAM, "depth": 1})

    assert bench.records[-1].parsed == verdict
    assert answer.extra["score"] == CLASSES[verdict or "likely"]


async def test_a_sampled_step_goes_on_from_the_path(tmp_path: Path) -> None:
    written = iter(["ALFA", "ALFA", " bravo\nStep 3: more"])
    bench = Bench(tmp_path, lambda request: "sure" if JUDGING in flat(request) else next(written), "text")

    answer = await ask(bench, {**BEAM, "generate": "sample", "candidates": 1})

    assert [record.request.begun for record in bench.records if record.call == "sample"] == ["Step 1:", "Step 2:"]
    assert "Step 1: ALFA" in bench.texts[2]
    assert answer.extra["path"] == ["ALFA", "ALFA"]


async def test_the_same_state_is_judged_once(tmp_path: Path) -> None:
    written = iter(["ALFA", " alfa ", "BRAVO"])
    bench = Bench(tmp_path, lambda request: "sure" if JUDGING in flat(request) else next(written), "text")

    answer = await ask(bench, {**BEAM, "generate": "sample", "candidates": 3, "depth": 1})

    assert (answer.value, len(bench.texts)) == ("ALFA", 3 + 2)


async def test_several_evaluations_of_a_state_are_samples_of_their_own(tmp_path: Path) -> None:
    judged = iter(["sure", "impossible", "impossible", "likely", "likely", "sure"])
    bench = Bench(tmp_path, lambda request: next(judged) if JUDGING in flat(request) else "ALFA\nBRAVO", "text")

    answer = await ask(bench, {**BEAM, "depth": 1, "evaluations": 3, "evaluation_temperature": 0.5})

    assert (answer.value, len(bench.texts)) == ("BRAVO", 1 + 6)
    assert len({request.sample for request in bench.runtime.requests if JUDGING in flat(request)}) == 3


async def test_several_evaluations_without_a_temperature_are_an_error_before_the_first_call(tmp_path: Path) -> None:
    bench = Bench(tmp_path, BREADTH, "text")

    with pytest.raises(InputError, match="`evaluation_temperature` of 0 would be the same"):
        await ask(bench, {**BEAM, "evaluations": 2})

    assert not bench.records


@pytest.mark.parametrize("decide", ["generate", "constrain"])
async def test_depth_first_prunes_a_state_and_goes_on_from_its_sibling_without_it(tmp_path: Path, decide: str) -> None:
    bench = Bench(tmp_path, DEPTH, "text")

    answer = await ask(bench, DEEP, decide)

    assert (answer.value, answer.extra["path"], len(bench.texts)) == ("ZULU", ["YANKEE", "ZULU"], 5)
    assert [path_in(text) for text in bench.texts] == [(), ("XRAY",), ("YANKEE",), ("YANKEE",), ("YANKEE", "ZULU")]
    assert bench.levels == [("propose", 1), ("value", 2), ("value", 3), ("propose", 4), ("value", 5)]
    assert "capped" not in answer.extra


async def test_a_budget_ends_a_depth_first_search_with_the_best_state_so_far(tmp_path: Path) -> None:
    bench = Bench(tmp_path, DEPTH, "text")

    answer = await ask(bench, {**DEEP, "nodes": 1, "final": True})

    assert [record.call for record in bench.records] == ["propose", "value", "answer"]
    assert (answer.value, answer.extra["path"], answer.extra["capped"]) == ("LAST", [], True)
    assert bench.warned == ["capped"]


async def test_a_depth_first_search_that_prunes_every_path_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda request: "impossible" if JUDGING in flat(request) else "ALFA\nBRAVO", "text")

    answer = await ask(bench, {**DEEP, "final": True})

    assert (answer.extra["path"], bench.warned) == ([], ["all_pruned"])


async def test_a_vote_that_ends_in_a_tie_says_so(tmp_path: Path) -> None:
    votes = iter(["The best choice is 1", "The best choice is 2"])
    bench = Bench(tmp_path, lambda request: next(votes) if VOTING in flat(request) else "ALFA\nBRAVO", "text")
    twice = {"evaluate": "vote", "evaluations": 2, "evaluation_temperature": 0.5}

    answer = await ask(bench, {**BEAM, "depth": 1, **twice})

    assert (answer.value, bench.warned) == ("ALFA", ["tie"])


async def test_a_search_that_finds_nothing_has_no_answer_of_its_own(tmp_path: Path) -> None:
    bench = Bench(tmp_path, DEPTH, "text")

    answer = await ask(bench, {**DEEP, "nodes": 1})

    assert (answer.value, answer.flag, answer.extra["capped"], len(bench.texts)) == (None, "unparsed", True, 2)


async def test_depth_first_backtracks_from_a_dead_end_and_restores_the_state(tmp_path: Path) -> None:
    script = tree(
        {(): "ALFA\nBRAVO", ("ALFA",): "CHARLIE", ("BRAVO",): "DELTA"},
        {"ALFA": "sure", "CHARLIE": "impossible", "BRAVO": "likely", "DELTA": "likely"},
    )
    bench = Bench(tmp_path, script, "text")

    answer = await ask(bench, DEEP)

    assert answer.extra["path"] == ["BRAVO", "DELTA"]
    assert [path_in(text) for text in bench.texts if JUDGING in text] == [
        ("ALFA",),
        ("ALFA", "CHARLIE"),
        ("BRAVO",),
        ("BRAVO", "DELTA"),
    ]


async def test_confidences_are_summed_over_several_proposals(tmp_path: Path) -> None:
    proposals = iter(["XRAY (high)\nYANKEE (medium)", "YANKEE (high)\nXRAY (low)"])
    bench = Bench(tmp_path, lambda request: "sure" if JUDGING in flat(request) else next(proposals), "text")

    answer = await ask(bench, {**DEEP, "depth": 1, "proposals": 2})

    assert (answer.value, len(bench.texts)) == ("YANKEE", 2 + 1)


async def test_depth_first_may_take_its_order_from_a_vote(tmp_path: Path) -> None:
    def script(request: Request) -> str:
        text = flat(request)
        if VOTING in text:
            return f"The best choice is {2 if 'XRAY' in text else 1}"
        return "XRAY\nYANKEE" if not path_in(text) else "ZULU"

    bench = Bench(tmp_path, script, "text")

    answer = await ask(bench, {**DEEP, "evaluate": "vote"})

    assert answer.extra["path"] == ["YANKEE", "ZULU"]
    assert [record.call for record in bench.records] == ["propose", "vote", "propose", "vote"]


@pytest.mark.parametrize("variant", ["bfs", "dfs"])
@pytest.mark.parametrize("evaluate", ["value", "vote"])
async def test_a_search_that_never_ends_by_itself_ends_at_its_caps(tmp_path: Path, variant: str, evaluate: str) -> None:
    number = iter(range(10_000))
    replies = {JUDGING: "sure", VOTING: "The best choice is 1"}

    def script(request: Request) -> str:
        for words, reply in replies.items():
            if words in flat(request):
                return reply
        return "\n".join(f"- step {next(number)}" for _ in range(40))

    bench = Bench(tmp_path, script, "text")

    await ask(bench, {"variant": variant, "evaluate": evaluate, "depth": 5, "nodes": 4})

    assert len(bench.texts) < 60


@pytest.mark.parametrize("variant", ["bfs", "dfs"])
@pytest.mark.parametrize("evaluate", ["value", "vote"])
@pytest.mark.parametrize("generate", ["propose", "sample"])
async def test_replies_that_say_nothing_end_in_an_answer_from_the_question(
    tmp_path: Path, variant: str, evaluate: str, generate: str
) -> None:
    asides = (PROPOSING, WRITING, JUDGING, VOTING)
    bench = Bench(tmp_path, lambda request: "" if any(map(flat(request).__contains__, asides)) else "7", "text")

    answer = await ask(bench, {"variant": variant, "evaluate": evaluate, "generate": generate})

    assert (answer.value, answer.extra["path"]) == ("7", [])
    assert "no_step" in bench.warned


async def test_a_judgement_that_names_no_class_neither_prunes_nor_prefers(tmp_path: Path) -> None:
    script = tree({(): "ALFA\nBRAVO"}, {"ALFA": "Who knows?", "BRAVO": "likely"})
    bench = Bench(tmp_path, script, "text")

    assert (await ask(bench, {**DEEP, "depth": 1})).value == "ALFA"


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = Bench(tmp_path, BREADTH, "text", prompt=MARKED)

    await perform({"tree_of_thoughts": {**BEAM, "final": True}}, bench.step(examples=(marked_example("two"),)))

    knowing = "persona instructions constraints context output_format input"
    assert bench.shown == [
        ("propose", knowing),
        ("value", knowing),
        ("value", knowing),
        ("propose", knowing),
        ("value", knowing),
        ("value", knowing),
        ("answer", ALL),
    ]


async def test_a_head_that_a_model_repeats_is_no_step(tmp_path: Path) -> None:
    script = tree({(): "Possible next steps:\n- ALFA"}, {"ALFA": "Judgement: fine.\nsure"})
    bench = Bench(tmp_path, script, "text", capabilities=without("continue"))

    answer = await ask(bench, {**BEAM, "depth": 1})

    assert (answer.value, len(bench.texts)) == ("ALFA", 2)


async def test_a_runtime_that_cannot_continue_gets_the_path_as_a_turn(tmp_path: Path) -> None:
    bench = Bench(tmp_path, BREADTH, "text", capabilities=without("continue"))

    answer = await ask(bench, {**BEAM, "final": True})

    assert answer.value == "LAST"
    assert [message.role for message in bench.runtime.requests[-1].messages] == ["user", "assistant", "user"]


async def test_a_class_that_is_denied_is_none(tmp_path: Path) -> None:
    bench = Bench(tmp_path, tree({(): "ALFA\nBRAVO"}, {"ALFA": "I am not sure.", "BRAVO": "sure"}), "text")

    answer = await ask(bench, {**BEAM, "depth": 1})

    assert answer.extra["path"] == ["BRAVO"]


@pytest.mark.parametrize("evaluate", ["value", "vote"])
async def test_a_search_that_is_a_sample_proposes_warm_and_judges_as_cold_as_any(tmp_path: Path, evaluate: str) -> None:
    bench = Bench(tmp_path, lambda request: "1. ALFA" if PROPOSING in flat(request) else "sure", "text")
    over = {"tree_of_thoughts": {**BEAM, "depth": 1, "evaluate": evaluate}}

    await perform({"self_consistency": {"samples": 2, "over": over}}, bench.step(decide="generate"))

    heats = {record.call: record.request.temperature for record in bench.records}
    assert heats == {"propose": 0.7, evaluate: 0.0}


async def test_what_is_said_around_a_list_is_no_step(tmp_path: Path) -> None:
    script = tree(
        {(): "Here are two steps:\n1. ALFA\n2. BRAVO\nI hope this helps."}, {"ALFA": "likely", "BRAVO": "sure"}
    )
    bench = Bench(tmp_path, script, "text")

    answer = await ask(bench, {**BEAM, "depth": 1, "candidates": 3})

    assert (answer.value, len(bench.texts)) == ("BRAVO", 3)
