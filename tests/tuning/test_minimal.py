"""The minimal incumbent: what is not sent and what brings nothing is taken back, and the record says so."""

from __future__ import annotations

from typing import Any

from promptkit.runtimes.base import Request
from promptkit.runtimes.budget import Budget
from promptkit.runtimes.scripted import request_text
from promptkit.tuning.calibration import CandidateCalibration
from promptkit.tuning.minimal import TEST_ROWS, minimize, search_calls
from promptkit.tuning.preference import Preference
from promptkit.tuning.search.effects import Effects
from promptkit.tuning.search_space.candidate import Candidate, Choice, Parameter
from promptkit.tuning.trials import Estimates, SearchResult, Trial
from tests.engine.helpers import Folder
from tests.tuning.evaluators import Opened, open_evaluator
from tests.tuning.planted import WRONG
from tests.tuning.tunings import PROMPT, TuneBench, luck, right_where, row_of, truth

ROWS = range(60)
CUE = Choice("cue `Mood:`, generate", {"mood.cue": "Mood:", "mood.decide": "generate"})
MARKDOWN = Choice("markdown", {"mood.layout": "markdown"})
EXAMPLES = Choice("2 examples #1", {"mood.examples": [{"input": {"text": "row 999 was fine"}, "output": "good"}]})
PAL = Choice("pal", {"mood.technique": "pal"})


def answer(request: Request) -> str:
    """The cue is worth 30 points; a program gives what it gives."""
    text = request_text(request)
    if "solution" in text:
        return f"def solution():\n    return '{truth(row_of(request))}'"
    right = truth(row_of(request))
    return right if luck(row_of(request), 0.5 + 0.3 * ("Mood:" in text)) else WRONG[right]


async def minimized(
    opened: Opened, incumbent: Candidate, effects: Effects | None = None, calls: int = 1000, prefer: str = "best"
) -> tuple[SearchResult, list[dict[str, Any]]]:
    """Minimize an incumbent that has results on all rows, beside the start."""
    evaluator = opened.evaluator
    await evaluator.evaluate([Candidate(), incumbent], ROWS)
    result = SearchResult(incumbent=incumbent, calibrated=incumbent, effects=effects)
    for candidate in (Candidate(), incumbent):
        result.add_trial(Trial(candidate=candidate, stage="race", rows=tuple(ROWS)))
    estimates = Estimates(evaluator, CandidateCalibration(evaluator, None), Preference(prefer))
    taken_back = await minimize(estimates, result, tuple(ROWS), calls)
    return result, [change.record() for change in taken_back]


async def test_what_no_request_shows_is_taken_back_without_a_call(folder: Folder) -> None:
    prompt = PROMPT.replace("{label: [good, bad]}", "text").replace("decide: generate\n", "")
    bench = TuneBench(folder, len(ROWS), prompt=prompt)
    folder.write("templates/prompts/again.j2", prompt + "{% block recap %}Solve the problem.{% endblock %}\n")
    pick = Candidate(
        {
            "mood.technique": PAL,
            "mood.decide": Choice("cue", {"mood.cue": "Mood:"}),
            "mood.examples": EXAMPLES,
            "mood.wording": Choice("recap", {"mood.prompt": "again"}),
        }
    )
    async with open_evaluator(bench, answer, bench.start()) as opened:
        result, records = await minimized(opened, pick, calls=0)
        requests = len(opened.runtime.requests)

        assert result.incumbent == result.calibrated == Candidate({"mood.technique": PAL})
        assert opened.evaluator.scores(result.incumbent, ROWS).mean() == 1.0
        assert requests == opened.budget.spent == 2 * len(ROWS)
    assert [(entry["axis"], entry["why"], entry["difference"]) for entry in records] == [
        (f"mood.{kind}", "not sent", None) for kind in ("decide", "examples", "wording")
    ]
    assert {trial.candidate.label(with_steps=False) for trial in result.trials.values()} == {
        "as written",
        "technique: pal",
    }


async def test_of_a_change_only_the_settings_that_are_sent_stay(folder: Folder) -> None:
    bench = TuneBench(folder, len(ROWS))
    async with open_evaluator(bench, answer, bench.start()) as opened:
        result, records = await minimized(opened, Candidate({"mood.decide": CUE}), calls=0)

    assert result.incumbent.changes == {"mood.cue": "Mood:"}
    assert result.incumbent.record() == {"mood.decide": "cue `Mood:`, generate (only cue)"}
    assert [(entry["axis"], entry["level"]) for entry in records] == [
        ("mood.decide", "decide of cue `Mood:`, generate")
    ]


async def test_what_brings_nothing_is_taken_back_and_what_brings_something_stays(folder: Folder) -> None:
    bench = TuneBench(folder, len(ROWS))
    pick = Candidate({"mood.decide": Choice("cue", {"mood.cue": "Mood:"}), "mood.examples": EXAMPLES})
    async with open_evaluator(bench, answer, bench.start()) as opened:
        result, [record] = await minimized(opened, pick)
        calls = opened.budget.spent - 2 * len(ROWS)

        assert result.incumbent.record() == {"mood.decide": "cue"}
        assert result.trials[result.incumbent.key].stage == "eliminate"
        assert 0 < calls <= 2 * TEST_ROWS
    assert (record["axis"], record["level"], record["why"]) == ("mood.examples", "2 examples #1", "same answers")
    assert record["low"] < record["difference"] < record["high"]
    assert record["rows"] == TEST_ROWS


async def test_a_change_that_alters_answers_is_taken_back_where_the_search_expects_little_of_it(folder: Folder) -> None:
    def altered(request: Request) -> str:
        text, number = request_text(request), row_of(request)
        right = truth(number)
        return right if luck(number, 0.8, "999" if "row 999" in text else "") else WRONG[right]

    little = Effects(
        mean=0.8,
        added={"mood.examples": {"as written": 0.0, "2 examples #1": 0.001}},
        parameters=(
            Parameter(name="mood.examples", step="mood", kind="examples", choices=(Choice("as written"), EXAMPLES)),
        ),
        rows=20.0,
        errors={"mood.examples": {"as written": 0.0, "2 examples #1": 0.01}},
    )
    bench = TuneBench(folder, len(ROWS))
    async with open_evaluator(bench, altered, bench.start()) as opened:
        result, [record] = await minimized(opened, Candidate({"mood.examples": EXAMPLES}), little)

    assert result.incumbent == Candidate()
    assert record["why"] == "no gain"
    assert record["difference"] < 0.01


async def test_what_brings_a_few_points_for_more_tokens_is_taken_back_where_cheap_candidates_are_preferred(
    folder: Folder,
) -> None:
    def little_better(request: Request) -> str:
        number = row_of(request)
        return truth(number) if number != 5 or "row 999" in request_text(request) else WRONG[truth(number)]

    pick, taken_back = Candidate({"mood.examples": EXAMPLES}), {}
    for prefer in ("best", "cheap"):
        bench = TuneBench(folder, len(ROWS))
        async with open_evaluator(bench, little_better, bench.start()) as opened:
            _, records = await minimized(opened, pick, prefer=prefer)
        taken_back[prefer] = [record["why"] for record in records]

    assert taken_back == {"best": [], "cheap": ["preferred"]}


async def test_a_change_that_makes_the_prompt_shorter_stays_whatever_it_brings(folder: Folder) -> None:
    shorter = Choice("short", {"mood.prompt": {"instructions": "Mood?", "input": "{{ text }}"}})
    bench = TuneBench(folder, len(ROWS))
    async with open_evaluator(bench, answer, bench.start()) as opened:
        result, records = await minimized(opened, Candidate({"mood.wording": shorter}))

        assert opened.budget.spent == 2 * len(ROWS)
    assert (result.incumbent.record(), records) == ({"mood.wording": "short"}, [])


async def test_no_call_is_sent_beyond_the_calls_that_are_kept_for_it(folder: Folder) -> None:
    bench = TuneBench(folder, len(ROWS))
    pick = Candidate({"mood.decide": Choice("cue", {"mood.cue": "Mood:"}), "mood.examples": EXAMPLES})
    async with open_evaluator(bench, answer, bench.start(), budget=Budget(500)) as opened:
        result, records = await minimized(opened, pick, calls=19)

        assert (opened.budget.spent, opened.budget.most) == (2 * len(ROWS), 500)
    assert (result.incumbent, records) == (pick, [])


def test_a_tenth_of_the_search_is_kept_for_it_if_that_pays_for_a_test() -> None:
    assert [search_calls(calls, 1, 1) for calls in (640, 200, 199)] == [576, 180, 199]
    assert [search_calls(calls, 2, 2) for calls in (400, 399)] == [360, 399]


def test_more_is_kept_where_an_incumbent_may_take_several_requests_a_row() -> None:
    assert [search_calls(calls, 1, 2) for calls in (500, 1000, 2000)] == [400, 880, 1800]


PLANTED = """
name: mood
inputs: {text: {example: fine}}
steps:
  mood: {prompt: mood}
tune:
  mood.about: ["a mood", "of a row"]
  mood.cue: ["Mood:", "It is:", "So:", "Then:"]
  mood.layout: [markdown, json, prefix]
  mood.examples:
    - [{input: {text: "row 901 was fine"}, output: good}]
    - [{input: {text: "row 902 was foul"}, output: bad}]
    - [{input: {text: "row 903 was fine"}, output: good}, {input: {text: "row 904 was foul"}, output: bad}]
  mood.messages: [system, turns]
  mood.options.seed: [1, 2]
  mood.options.max_tokens: [64]
"""
"""17 changes, of which five do nothing: two of `about`, which are not sent, two seeds and a limit of tokens."""
DEAD = ("mood.about", "mood.options.seed", "mood.options.max_tokens")


def planted(text: str) -> float:
    """Return how often the planted model is right: a cue, an example and a layout each bring something."""
    gains = {"Mood:": 0.15, "It is:": 0.05, "904": 0.15, "901": 0.05, "##": 0.10}
    return 0.45 + sum(gain for mark, gain in gains.items() if mark in text)


async def test_of_17_changes_the_dead_are_not_in_the_incumbent(folder: Folder) -> None:
    bench = TuneBench(folder, 200)
    target = folder.write("pipelines/mood.yaml", PLANTED)
    ran = await bench.tune(right_where(planted), target=target)

    best = ran.record["best"]
    assert ran.record["verdict"] == "improved"
    assert not any(name in DEAD for name in best["choices"])
