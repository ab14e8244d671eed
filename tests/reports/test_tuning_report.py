"""What a tuning found, in the terminal: the verdict first, and nothing that its rows do not bear."""

from __future__ import annotations

import re
from typing import Any

import pytest

from promptkit.reports.tuning.evidence import thinned
from promptkit.reports.tuning.plan import detectable_gain_text, plan_text
from promptkit.reports.tuning.report import tuning_text
from promptkit.tuning.budget import Plan
from promptkit.tuning.options import Limits
from promptkit.tuning.search_space.candidate import Choice, Parameter
from promptkit.tuning.tune_record import CurvePoint, TuneRecord
from tests.reports.demo_tuning import candidate, demo_tuning, turned_row

DIFFERENCE = demo_tuning()["difference"]


def lines(**more: Any) -> list[str]:
    return tuning_text(TuneRecord.model_validate(demo_tuning(**more)), width=100).split("\n")


def test_the_verdict_stands_first_with_its_interval_and_rows() -> None:
    said = lines()
    verdict = said.index("improved: +10 points [+2, +18] by accuracy on 142 rows that the search never saw")
    assert verdict == 4
    assert said[verdict + 1 : verdict + 3] == [
        "the interval of the difference lies above 0",
        "22 rows better, 8 worse; the interval is at 95 %",
    ]


def test_a_later_verdict_on_the_same_rows_says_why_its_interval_is_wider() -> None:
    later = {**demo_tuning()["difference"], "level": 0.975}
    said = " ".join("\n".join(lines(ordinal=2, difference=later)).split())
    assert "this is verdict 2 on these confirm rows, so its interval is at 97.5 %: each further one" in said
    assert "; the interval is at" not in said


def test_what_is_not_shown_says_how_many_rows_would_tell_and_which_verdict_it_is() -> None:
    said = "\n".join(lines(verdict="not shown", rows_needed=1626, ordinal=2))
    assert "not shown: +10 points" in said
    assert "about 1,626 confirm rows would show a gain of 5 points" in said
    assert "this is verdict 2 on these confirm rows" in said


def test_a_tuning_without_a_difference_gives_no_number() -> None:
    nothing: dict[str, Any] = {"choices": {}, "changes": {}, "search": None, "confirm": None}
    said = "\n".join(lines(verdict="not shown", difference=None, best=nothing, why="the start is best", diff=""))
    assert "\nnot shown\nthe start is best\n" in said
    assert "incumbent: the target as it is written" in said


def test_start_and_incumbent_stand_side_by_side_and_the_search_is_not_taken_for_the_result() -> None:
    said = lines()
    assert next(line for line in said if line.startswith("start ")).split() == [
        *("start", "61", "%", "[53,", "69]", "of", "142"),
        *("61", "%", "[53,", "69]", "of", "38"),
    ]
    assert "search rows of both, optimistic" in "\n".join(said)


def test_without_search_rows_of_both_there_is_no_column_of_them() -> None:
    sides = {side: {**demo_tuning()[side], "shared": None} for side in ("baseline", "best")}
    said = lines(**sides)
    start = next(line for line in said if line.startswith("start "))
    assert start.split() == ["start", "61", "%", "[53,", "69]", "of", "142"]
    assert "search rows of both" not in "\n".join(said)


def test_warnings_of_start_and_incumbent_are_counted_on_the_rows_that_decide() -> None:
    record = demo_tuning()
    record["baseline"]["search"]["warnings"] = {"refused": 5}
    record["baseline"]["confirm"] = {**record["baseline"]["confirm"], "warnings": {"weak_reading": 9, "refused": 1}}
    record["best"]["search"]["warnings"] = {"weak_reading": 2}
    record["best"]["confirm"] = None
    said = tuning_text(TuneRecord.model_validate(record), width=100)
    assert "start: 9 read by a weak rule, 1 refused to answer, of 142 confirm rows" in said
    assert "incumbent: 2 read by a weak rule, of 40 search rows" in said
    assert "5 refused" not in said


def test_what_each_change_brought_says_what_it_rests_on() -> None:
    said = lines()
    assert next(line for line in said if "mood.decide: score  " in line).endswith("+8  [+1, +15]  confirm rows")
    assert next(line for line in said if "mood.examples: 4, draw 2  " in line).endswith("search's estimate")
    assert "not measured on confirm rows: mood.examples: the budget has no calls left" in said
    assert not any("in sum" in line for line in said)


def test_the_front_goes_from_cheap_to_dear_with_incumbent_and_start_marked() -> None:
    said = lines()
    begin = next(at for at, line in enumerate(said) if line.startswith("candidates that no other beats"))
    front = [line.split() for line in said[begin + 2 : begin + 8]]
    assert [" ".join(line) for line in front[1::2]] == [
        "start: as written",
        "decide: score",
        "incumbent: decide: score · examples: 4",
    ]
    assert not any("layout: json" in line for line in said)


def test_of_a_long_front_its_ends_the_incumbent_and_the_start_are_shown() -> None:
    many = [candidate(f"c{at:02}", 0.5 + at / 100, 50.0 + at, front=True, pick=at == 18) for at in range(30)]
    said = "\n".join(lines(candidates=many))
    assert "c00" in said and "c29" in said and "incumbent: c18" in said
    assert "and 21 between these" in said


def test_the_diff_and_where_it_is_written_come_last() -> None:
    said = "\n".join(lines())
    assert said.index("-    prompt: mood\n+    prompt: mood.tuned") > said.index("improved")
    assert "written: templates/prompts/mood.tuned.j2, pipelines/mood.tuned.yaml" in said


def test_where_the_original_is_replaced_that_alone_is_told_to_be() -> None:
    said = lines(applied=True, written=["templates/prompts/mood.tuned.j2", "pipelines/mood.yaml"])
    begin = said.index("written: templates/prompts/mood.tuned.j2")
    assert said[begin + 1] == "replaced: pipelines/mood.yaml"
    assert "written: " not in "\n".join(lines(applied=True, written=["pipelines/mood.yaml"]))


def test_in_a_narrow_terminal_no_number_is_cut_however_long_the_names_are() -> None:
    long = " · ".join(f"step_{at}.examples: 8 examples from its own runs #{at}" for at in range(12))
    many = [candidate(long, 0.5 + at / 10, 50.0 + at, front=True, unparsed=0.02 * at, pick=at == 2) for at in range(3)]
    said = tuning_text(TuneRecord.model_validate(demo_tuning(candidates=many)), width=60).split("\n")
    assert all(len(line) <= 60 for line in said if not line.startswith("mood on"))
    assert sum(line.endswith("  4 %") for line in said) == 1
    assert [line.split()[-2:] for line in said if line.startswith(("start ", "incumbent "))] == [
        ["of", "38"],
        ["of", "38"],
    ]


def test_what_was_not_chosen_yet_is_not_called_the_incumbent() -> None:
    said = "\n".join(
        lines(status="interrupted", ordinal=0, difference=None, why="it ended before a candidate was chosen")
    )
    assert "\nso far: mood.decide" in said and "\nincumbent: " not in said


def test_changes_that_are_left_unmeasured_for_one_reason_are_told_together() -> None:
    told = {
        "about": "",
        "difference": 0.1,
        "low": None,
        "high": None,
        "on": "search",
        "skipped": "the budget has no calls left",
    }
    both = [{"axis": f"mood.{kind}", "level": "x", **told} for kind in ("decide", "layout")]
    said = "\n".join(lines(ablation=both))
    assert "not measured on confirm rows: mood.decide, mood.layout: the budget has no calls left" in said


def test_estimates_are_told_from_parts_of_a_measured_sum() -> None:
    estimate = {"axis": "mood.decide", "level": "x", "difference": 0.1, "low": -0.02, "high": 0.22, "on": "search"}
    said = "\n".join(lines(ablation=[estimate]))
    assert "+10  [−2, +22]  search's estimate" in said
    assert "fitted to the difference above as if effects added up" in said.replace("\n", " ")


def test_what_was_taken_back_is_told_with_its_reason() -> None:
    unsent = {"axis": "mood.examples", "level": "2 examples #1", "why": "not sent"}
    idle = {"axis": "mood.layout", "level": "json", "why": "no gain", "difference": 0.002, "low": -0.03, "high": 0.034}
    same = {"axis": "mood.cue", "level": "Mood:", "why": "same answers", "rows": 40}
    said = "\n".join(lines(taken_back=[unsent, same, {**idle, "rows": 40}])).replace("\n", " ")
    assert "taken back, as all answers on 40 search rows are the same without it: mood.cue: Mood:" in said
    assert "taken back, as no request shows it: mood.examples: 2 examples #1" in said
    assert "mood.layout: json, 0 points [−3, +3] after 40 search rows without it" in said


@pytest.mark.parametrize(
    ("stopped", "told"), [("calls", "the budget held no more calls"), ("interrupted", "this is the best so far")]
)
def test_what_stopped_it_is_told(stopped: str, told: str) -> None:
    assert any(told in line for line in lines(stopped_by=stopped)[:6])


@pytest.mark.attack("terminal")
def test_what_a_record_holds_cannot_steer_the_terminal() -> None:
    said = "\n".join(lines(diff="+\x1b[2J", why="\x1b]0;x\x07", notes=["\x1b[1m"], target="\x1b[A"))
    assert said.replace("\n", "").isprintable()


def test_a_graded_metric_is_shown_in_its_own_units() -> None:
    metric = {"name": "seconds", "kind": "edit", "bounds": [0, 10], "higher_is_better": False}
    assert "improved: +0.10 [+0.02, +0.18] by seconds" in "\n".join(lines(metric=metric))


def test_the_first_screen_has_the_verdict_its_reasons_the_winner_and_what_to_do() -> None:
    said = tuning_text(TuneRecord.model_validate(demo_tuning()), width=80).split("\n")
    parts = ("improved: ", "incumbent: ", "what each change brought", "confirm rows that turned", "what to do next")
    places = [next(at for at, line in enumerate(said) if line.startswith(part)) for part in parts]
    assert places == sorted(places) and places[-1] < 38
    details = ("differences, points", "learning curve", "candidates that no other beats", "--- pipelines/mood.yaml")
    assert all(next(at for at, line in enumerate(said) if line.startswith(part)) > places[-1] for part in details)


def test_of_rows_that_turned_the_first_two_of_each_direction_are_shown_before_and_after() -> None:
    said = lines()
    begin = said.index("confirm rows that turned: 8 worse, 22 better")
    rows = [line.split() for line in said[begin + 2 : begin + 6]]
    assert [row[:5] for row in rows] == [
        *(["worse", str(number), "good", "good", "bad"] for number in (2, 4)),
        *(["better", str(number), "good", "bad", "good"] for number in (1, 3)),
    ]
    assert " ".join(rows[0][5:]) == "a film that is fine, number 2"
    assert said[begin + 6 : begin + 8] == ["  all: promptkit runs compare 12", ""]


def test_an_answer_that_does_not_parse_and_graded_scores_are_named_in_rows_that_turned() -> None:
    before, after = {"value": "hm", "flag": "unparsed", "score": 0.0}, {"value": "good", "score": 0.75}
    turned = {"better": 1, "worse": 0, "rows": [turned_row(7, "better", before=before, after=after)]}
    said = "\n".join(lines(turned=turned))
    assert "better 0 → 0.75    7  good      unparsed  good" in said and "all: promptkit" not in said


def test_a_record_without_evidence_shows_none_of_it() -> None:
    bare = {key: value for key, value in demo_tuning().items() if key not in ("turned", "curve")}
    bare["candidates"] = [{**one, "gain": None} for one in bare["candidates"]]
    said = tuning_text(TuneRecord.model_validate({**bare, "ablation": []}), width=100)
    assert not any(word in said for word in ("turned", "learning curve", "differences"))


def test_the_forest_plot_has_the_verdict_measured_changes_and_late_candidates_by_how_they_differ() -> None:
    said = lines()
    begin = said.index("differences, points")
    names = [re.split(" {2,}", line)[0] for line in said[begin + 1 : begin + 4]]
    assert names == ["incumbent, 142 rows", "mood.decide: score, 142 rows", "decide: decide: score, 38 rows"]
    assert "●" in said[begin + 1] and "○" in said[begin + 3]
    assert "search rows: optimistic" in " ".join(" ".join(said[begin + 5 : begin + 7]).split())


@pytest.mark.parametrize(("pairs", "shown"), [(19, False), (20, True)])
def test_a_candidate_with_fewer_than_20_rows_of_both_is_not_in_the_forest_plot(pairs: int, shown: bool) -> None:
    gain = {"difference": 0.1, "low": -0.1, "high": 0.3, "n": pairs}
    said = "\n".join(lines(candidates=[candidate("other", 0.7, 60.0, gain=gain)]))
    assert bool(re.search(rf"^decide: other.*, {pairs} rows .*○", said, re.MULTILINE)) == shown


def test_the_learning_curve_ends_with_the_confirm_rows_and_has_the_start_on_the_same_rows() -> None:
    said = lines()
    begin = said.index("learning curve: accuracy of the leader, %")
    assert [line[:27].strip() for line in said[begin + 1 : begin + 5]] == [
        "120 calls  5 rows",
        "200 calls  20 rows",
        "313 calls  40 rows",
        "597 calls  142 confirm rows",
    ]
    assert ["○" in line for line in said[begin + 1 : begin + 5]] == [True, True, False, True]


def test_a_long_curve_is_thinned_to_eight_points_and_of_equal_calls_the_last_counts() -> None:
    points = [CurvePoint(calls=10 * (at // 2), n=at, mean=0.5) for at in range(60)]
    found = thinned(points)
    assert [point.calls for point in found][::7] == [0, 290] and len(found) == 8
    assert [point.n for point in found][::7] == [1, 59]


@pytest.mark.parametrize(
    ("more", "next_step"),
    [
        ({}, "measure it on new rows: promptkit eval SUITE --target pipelines/mood.tuned.yaml"),
        (
            {"verdict": "not shown", "rows_for_gain": 248},
            "if +10 points is the true gain, about 248 confirm rows would show it four times in five: some 180 more "
            "rows like these in the suite",
        ),
        (
            {"verdict": "not shown", "rows_for_gain": 130, "difference": {**DIFFERENCE, "n": 60}},
            "about 130 confirm rows would show it four times in five: the suite has 142, and a larger budget asks more",
        ),
        ({"verdict": "not shown", "rows_for_gain": 1420}, "about 1,420 confirm rows would show it four times in five"),
        ({"verdict": "not shown", "rows_for_gain": 1421}, "this search found nothing clearly better than the start"),
        ({"verdict": "not shown", "rows_for_gain": 120}, "+10 points is at the edge of what 142 rows can show"),
        ({"verdict": "not shown"}, "this search found nothing clearly better than the start: widen it with a teacher"),
        (
            {"left_out": 3, "calls_for_all": 1234},
            "3 candidates were not raced for want of calls: about --budget calls=1300 would race all",
        ),
    ],
)
def test_what_to_do_next_follows_from_the_verdict(more: dict[str, Any], next_step: str) -> None:
    said = " ".join("\n".join(lines(**more)).split())
    assert next_step in said


def test_changes_that_brought_nothing_on_the_confirm_rows_are_named_beside_one_that_did() -> None:
    def said(*gains: float, on: str = "confirm") -> str:
        changes = [{"axis": f"mood.{n}", "level": "x", "difference": gain, "on": on} for n, gain in enumerate(gains)]
        return " ".join("\n".join(lines(ablation=changes)).split())

    idle = "mood.1: x brought nothing on the confirm rows: where that makes the prompt longer"
    assert idle in said(0.1, 0.0)
    for without in (said(0.1, 0.01), said(0.0, 0.0), said(0.1, 0.0, on="search")):
        assert "brought nothing" not in without


def test_a_run_that_did_not_end_has_no_advice() -> None:
    assert "what to do next" not in lines(status="interrupted")


def test_what_was_taken_back_and_the_looks_are_said_where_the_record_has_them() -> None:
    course = {
        "taken_back": [
            {
                "axis": "mood.layout",
                "level": "json",
                "why": "no gain",
                "difference": 0.004,
                "low": -0.02,
                "high": 0.03,
                "rows": 40,
            },
            {"axis": "mood.wording", "level": "recap", "why": "not sent"},
        ],
        "confirmation": {"rows": 57, "look": 2, "looks": 4, "units": 142},
        "difference": {**DIFFERENCE, "n": 57},
    }
    said = " ".join(" ".join(lines(**course)).split())
    for text in (
        "taken back, as no request shows it: mood.wording: recap",
        "not expected to bring a point: mood.layout: json, 0 points [−2, +3] after 40 search rows without it",
        "asked in pairs, ended after 57 of 142 rows, at look 2 of 4",
    ):
        assert text in said
    assert not any("look" in line for line in lines(**{**course, "difference": DIFFERENCE}))


def test_names_of_choices_are_explained_where_they_occur() -> None:
    choices = {"mood.decide": "score, calibrated (batch)", "mood.examples": "2 examples #1"}
    said = "\n".join(lines(best={**demo_tuning()["best"], "choices": choices}))
    assert "#1: one of several random draws of that many examples" in said
    assert "calibrated (batch): label scores minus their mean over search rows, as fixed numbers" in said
    assert "random draws" not in "\n".join(lines())


def plan(**more: Any) -> Plan:
    told: dict[str, Any] = {
        "target": "mood",
        "suite": "moods",
        "metric": "accuracy",
        "optimizer": "race",
        "search": 78,
        "demo_pool": 16,
        "holdout": 142,
        "parameters": [
            Parameter(name="mood.layout", step="mood", kind="layout", choices=(Choice("as written"), Choice("json")))
        ],
        "candidates": 24,
        "calls": 600,
        "search_calls": 316,
        "confirm_calls": 284,
        "limits": Limits(calls=600, minutes=10),
        "minutes": 3.4,
        "smallest_gain": 0.1,
        "notes": ["one row is wrong"],
        **more,
    }
    return Plan(**told)


def test_a_plan_tells_rows_calls_time_and_what_is_tried() -> None:
    said = plan_text(plan())
    assert "78 rows to search on, 16 for examples, 142 held out to confirm the result" in said
    assert "600 calls at most: 316 to search, 284 set aside to confirm the dearest candidate" in said
    assert "10 minutes at most; about 3 min" in " ".join(said.split())
    assert "at most 24 candidates over 1 parameter:\n    mood.layout  2  as written · json" in said
    assert "142 confirm rows can detect a gain of 10 points four times in five" in said
    assert said.endswith("· one row is wrong")


def test_rows_that_hang_together_are_counted_by_their_clusters() -> None:
    assert "12 clusters of confirm rows can detect a gain of 10 points" in detectable_gain_text(plan(clusters=12))
    found = {**demo_tuning()["difference"], "unit": "cluster", "n": 12}
    said = "\n".join(lines(difference=found))
    assert "on 12 clusters that the search never saw" in " ".join(said.split())
    assert f"{found['better']} clusters better" in said


def test_before_anything_is_measured_no_time_is_told() -> None:
    assert "min" not in plan_text(plan(minutes=None, limits=Limits())).partition("\n    mood")[0].replace("confirm", "")


@pytest.mark.parametrize(("smallest", "asks"), [(0.1, False), (0.124, False), (0.126, True), (None, True)])
def test_a_person_is_asked_where_only_a_large_gain_could_be_shown(smallest: float | None, asks: bool) -> None:
    assert plan(smallest_gain=smallest).needs_consent is asks
    assert ("cannot detect" in detectable_gain_text(plan(smallest_gain=smallest))) == (smallest is None)


def test_a_plan_is_json() -> None:
    told = plan().record()
    assert told["axes"] == [{"name": "mood.layout", "step": "mood", "kind": "layout", "levels": ["as written", "json"]}]
    assert told["rows"] == {"search": 78, "pool": 16, "confirm": 142, "clusters": None}
    assert told["budget"] == {"calls": 600, "tokens": None, "minutes": 10}


def test_what_weights_bring_and_what_is_lost_stand_under_the_verdict() -> None:
    text = " ".join("\n".join(lines()).split())

    assert "weights over the best prompt: +6 points [+1, +11] on 142 rows, shown" in text
    assert "mood, head: trained on 63 rows in 4.1 s, 87 % [77, 93] of 63 held out of these" in text
    assert "mood, adapter: not trained: its 900 seconds do not fit in the time" in text
    assert (
        "kept on old_moods: −1 points [−5, +3] by accuracy on 100 rows, equivalent within 6 points; 80 % → 79 %, "
        "2 rows lost, 1 won"
    ) in text


def test_weights_that_were_not_taken_bring_no_number() -> None:
    weights = {**demo_tuning()["weights"], "difference": None, "shown": False}

    assert "weights: not better than the best prompt on 31 search rows, so not used" in lines(weights=weights)


def test_the_prompt_without_weights_stands_beside_start_and_incumbent() -> None:
    [line] = [line for line in lines() if line.startswith("without weights")]

    assert line.split()[2:8] == ["65", "%", "[53,", "69]", "of", "142"]
