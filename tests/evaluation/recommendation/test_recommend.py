"""Recommendations for a task: only what can run here, ranked by rules, each reason computed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.evaluation.recommendation.evidence import Evidence, MeasuredData, MeasuredModel
from promptkit.evaluation.recommendation.recommend import StepProfile, find_task, recommend, tasks, with_task_inputs
from promptkit.project import Project
from promptkit.prompts.front_matter import PromptInput
from promptkit.techniques.needs import Available
from promptkit.techniques.registry import technique_names
from tests.techniques.test_catalog import CATALOG, PROJECT

ABLE = frozenset({"chat", "continue", "system", "grammar", "schema", "logprobs", "sampling", "stop"})


def situation(task: str, without: Collection[str] = (), **settings: Any) -> StepProfile:
    brings = {"sandbox", "sql", "embeddings"} - set(without)
    available = settings.pop("available", None) or with_task_inputs(Available(capabilities=ABLE, built_in=brings), task)
    return StepProfile(**{"task": task, "available": available, "size": 7.0, "budget": 8.0, **settings})


def ranked(task: str, **settings: Any) -> dict[str, float]:
    return {each.name: each.score for each in recommend(situation(task, **settings), PROJECT).ranked}


def dropped(task: str, **settings: Any) -> Mapping[str, str]:
    return {each.name: each.reason for each in recommend(situation(task, **settings), PROJECT).dropped}


def test_the_table_has_the_survey_s_tasks_and_two_more_and_names_only_what_is_in_the_catalog() -> None:
    assert sum("V" in task.basis for task in tasks().values()) == 29
    assert [key for key, task in tasks().items() if "V" not in task.basis] == ["classification", "extraction"]
    assert {name for task in tasks().values() for name in (*task.candidates(), *task.confirmed)} <= set(CATALOG)


def test_a_card_names_only_tasks_of_the_table() -> None:
    from promptkit.techniques.registry import find_technique

    for name in technique_names(PROJECT):
        technique = find_technique(name, PROJECT)
        assert technique and set(technique.card.tasks) <= set(tasks()), name


def test_a_technique_that_is_newer_than_the_survey_counts_as_tried_by_its_own_paper() -> None:
    found = recommend(situation("free_response", budget=20.0), PROJECT)

    reasons = next(each.reasons for each in found.ranked if each.name == "self_refine")
    assert reasons[0] == "was tried on this task (basis N)"
    fit = tasks()["free_response"].suits("self_refine")
    assert fit is not None and fit.points == 1


def test_a_table_without_sql_gets_chain_of_table_and_not_what_needs_sql() -> None:
    found = ranked("table_qa", without={"sql"})

    assert next(iter(found)) == "chain_of_table"
    assert found["chain_of_table"] == pytest.approx(3.25)
    assert {"binder", "dater"} <= set(dropped("table_qa", without={"sql"}))
    assert "needs sql" in dropped("table_qa", without={"sql"})["binder"]


def test_without_a_sandbox_no_program_is_recommended() -> None:
    found = ranked("math", without={"sandbox"})

    assert not {"pal", "program_of_thoughts", "chain_of_code"} & {name.strip("{").partition(":")[0] for name in found}
    assert found["chain_of_thought"] == pytest.approx(2.75)
    assert found["{self_consistency: {samples: 3}}"] == pytest.approx(2.354, abs=0.001)
    assert list(found).index("chain_of_thought") < list(found).index("{self_consistency: {samples: 3}}")


def test_what_does_not_fit_the_budget_is_made_cheaper_first() -> None:
    found = recommend(situation("factoid", budget=3.0), PROJECT)

    assert found.ranked[0].spec == {"chain_of_verification": {"variant": "joint"}}
    assert found.ranked[0].cost.requests == 3


def test_an_input_with_opinions_puts_a_modifier_first_over_the_best_that_there_is_room_for() -> None:
    found = recommend(situation("factoid", budget=3.0, flags={"opinion": "9 of 10 rows hold an opinion"}), PROJECT)

    assert found.ranked[0].spec == "system_2_attention"
    assert found.ranked[0].cost.requests == 2
    assert "9 of 10 rows hold an opinion" in found.ranked[0].reasons


def test_with_one_request_the_modifier_is_instructed() -> None:
    found = recommend(situation("factoid", budget=1.0, flags={"noise": "much noise"}), PROJECT)

    assert found.ranked[0].name.startswith(("instructed", "{instructed"))
    assert found.ranked[0].cost.requests == 1


def test_labels_and_a_guideline_bring_the_guideline_before_metacognition() -> None:
    inputs = {"question": PromptInput(type="text"), "guideline": PromptInput(type="text")}
    with_guideline = Available(capabilities=ABLE, inputs=inputs)

    found = list(ranked("ner", available=with_guideline, met_by_data={"rows", "labels"}))

    assert found.index("annotation_guideline") < found.index("metacognitive")
    assert "annotation_guideline" in dropped("ner")


def test_a_smaller_model_than_a_technique_is_comfortable_with_costs_a_point() -> None:
    assert ranked("sentiment")["metacognitive"] == ranked("sentiment", size=70.0)["metacognitive"] - 1


def test_a_property_of_the_input_is_worth_two_points_to_the_techniques_made_for_it() -> None:
    plain, with_numbers = ranked("math"), ranked("math", flags={"numbers": "9 of 10 rows hold two numbers or more"})

    assert with_numbers["pal"] == plain["pal"] + 2
    assert with_numbers["chain_of_thought"] == plain["chain_of_thought"]


@pytest.mark.parametrize("task", list(tasks()))
def test_on_a_model_that_thinks_none_a_check_a_program_or_a_vote_comes_before_what_asks_for_thoughts(task: str) -> None:
    plain, thinking = ranked(task), ranked(task, thinks=True)
    lost = {name for name, score in thinking.items() if score == pytest.approx(plain[name] - 3)}
    assert not lost & {"vanilla", "self_consistency", "pal", "program_of_thoughts", "chain_of_verification", "dater"}
    assert lost >= plain.keys() & {"chain_of_thought", "plan_and_solve", "complex_cot", "thread_of_thought"}
    assert next(iter(thinking)) not in lost


def test_the_reason_is_that_the_model_thinks_by_itself() -> None:
    found = {each.name: each for each in recommend(situation("classification", thinks=True), PROJECT).ranked}
    assert next(iter(found)) == "vanilla"
    assert "the model thinks by itself: asking once may be enough" in found["vanilla"].reasons
    assert "asks for thoughts, and the model thinks by itself" in found["chain_of_thought"].reasons


def measured(technique: str, right: int, low: float, high: float) -> Evidence:
    return Evidence(
        pipeline="p",
        step="s",
        technique=technique,
        model=MeasuredModel(reference="embedded/smollm2", digest="d"),
        data=MeasuredData(file="rows.jsonl", rows="r"),
        n=100,
        right=right,
        low=low,
        high=high,
        requests=1,
        tokens=10,
        date="2026-01-01T00:00:00+00:00",
    )


@pytest.mark.parametrize(("low", "points"), [(0.88, 1), (0.87, 0), (0.72, 0)])
def test_a_measured_technique_gains_a_point_only_where_its_interval_lies_above_the_baselines(
    low: float, points: int
) -> None:
    evidence = [measured("vanilla", 80, 0.71, 0.87), measured("chain_of_thought", 95, low, 0.99)]

    assert (
        ranked("sentiment", evidence=evidence)["chain_of_thought"] == ranked("sentiment")["chain_of_thought"] + points
    )


def test_what_was_measured_here_is_a_reason_and_counts_only_where_intervals_part() -> None:
    evidence = [measured("vanilla", 80, 0.71, 0.87), measured("chain_of_thought", 40, 0.31, 0.5)]

    without, found = ranked("sentiment"), recommend(situation("sentiment", evidence=evidence), PROJECT)

    told = next(each for each in found.ranked if each.name == "chain_of_thought")
    assert told.score == without["chain_of_thought"] - 2
    assert any("40% [31%, 50%], n = 100, embedded/smollm2: worse than vanilla" in reason for reason in told.reasons)


@pytest.mark.parametrize(
    ("gain", "points", "says"),
    [
        ((0.3, 0.1, 0.5), 1, "better than vanilla"),
        ((0.05, -0.1, 0.2), 0, "n = 100, embedded/smollm2"),
        ((-0.3, -0.5, -0.1), -2, "worse than vanilla"),
    ],
)
def test_what_was_measured_for_the_task_counts_with_other_settings_by_the_gain_on_the_same_rows(
    gain: tuple[float, float, float], points: int, says: str
) -> None:
    line = measured("pal", 60, 0.5, 0.7).model_copy(
        update={"technique": {"pal": {"max_tokens": 200}}, "gain": gain, "task": "math"}
    )
    assert ranked("math", evidence=[line])["pal"] == pytest.approx(ranked("math")["pal"] + points)
    found = next(each for each in recommend(situation("math", evidence=[line]), PROJECT).ranked if each.spec == "pal")
    reason = next(reason for reason in found.reasons if reason.startswith("measured on rows.jsonl: 60%"))
    assert reason.endswith(says)


@pytest.mark.parametrize("task", list(tasks()))
def test_the_baseline_closes_every_list_that_lacks_it_and_the_order_is_always_the_same(task: str) -> None:
    first, second = recommend(situation(task), PROJECT), recommend(situation(task), PROJECT)

    assert first == second
    assert any(each.spec == "vanilla" for each in first.ranked)


@pytest.mark.parametrize("task", list(tasks()))
@pytest.mark.parametrize("budget", [1.0, 2.0, 5.0, 20.0])
def test_nothing_is_recommended_that_costs_more_than_the_budget(task: str, budget: float) -> None:
    found = recommend(situation(task, budget=budget, flags={"opinion": "opinions"}), PROJECT)

    assert all(each.cost.requests <= budget for each in found.ranked)


@pytest.mark.parametrize(("name", "key"), [("text2sql", "table_qa"), ("multi-hop", "multi_hop"), ("Entailment", "nli")])
def test_synonyms_and_hyphens_lead_to_the_task(name: str, key: str) -> None:
    assert find_task(name)[0] == key


def test_a_projects_own_technique_that_is_broken_is_dropped_with_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "techniques").mkdir()
    (tmp_path / "techniques" / "pal.py").write_text("import nowhere\n")

    found = recommend(situation("math"), Project(tmp_path))

    (pal,) = [each for each in found.dropped if each.name == "pal"]
    assert pal.reason == "technique `pal` cannot be read: there is no `@technique()` function named `pal`"
    assert any(each.spec == "vanilla" for each in found.ranked)


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(InputError) as raised:
        recommend(situation("sentimant", available=Available(capabilities=ABLE)), PROJECT)

    assert "sentiment" in str(raised.value)


def test_a_technique_of_the_projects_own_is_weighed_by_the_tasks_on_its_card(tmp_path: Path) -> None:
    folder = tmp_path / "templates" / "techniques" / "mine"
    folder.mkdir(parents=True)
    (folder / "ask.j2").write_text("---\nproduces: answer\n---\n{% extends prompt %}\n")
    (folder / "technique.yaml").write_text("title: Mine\ntasks: [math]\n")

    found = recommend(situation("math"), Project(tmp_path))

    (mine,) = [each for each in found.ranked if each.spec == "mine"]
    assert "its own card" in mine.reasons[0]


def test_no_vote_is_recommended_over_one_sample() -> None:
    found = recommend(situation("math", budget=2.0), PROJECT)

    assert not [each.name for each in found.ranked if "samples: 1" in each.name]
    assert "self_consistency" in {each.name for each in found.dropped}


def test_points_are_for_the_fit_for_checked_figures_and_for_help_that_is_there() -> None:
    found = ranked("math")

    assert found["pal"] == 2 + 1 + 1 - 0.25  # best on some data, its paper's figures checked, two requests
    assert found["program_of_thoughts"] == 3 + 1 - 0.25  # best, nothing that it lacks, two requests
