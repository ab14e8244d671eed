"""`dater` (Ye et al. 2023): the model chooses a part of the table and what to compute; SQL computes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import Unsupported
from promptkit.prompts.prompt import Example
from promptkit.runtimes.base import Reply, Token
from promptkit.techniques.cost import cost
from promptkit.techniques.spec import configure
from tests.techniques.steps import flat, held, in_order, without
from tests.techniques.tables import TableBench

TEAMS = [
    {"team": "Reds", "goals": 1, "YAK9": "a"},
    {"team": "Blues", "goals": 5, "YAK9": "b"},
    {"team": "Greens", "goals": 3, "YAK9": "c"},
    {"team": "ZEBRA7", "goals": 2, "YAK9": "d"},
]
ONES = {"column_samples": 1, "row_samples": 1, "cloze_samples": 1, "query_samples": 1, "samples": 1}
REPLIES: Mapping[str, Any] = {
    "columns": "team, goals",
    "rows": "f_row([row 1, row 3])",
    "cloze": "there are {} teams with more than 2 goals",
    "sql": "SELECT COUNT(*) FROM w WHERE goals > 2",
    "reason": "I count them. Therefore, the answer is: 2",
    "decided": " 2",
}


class Teams(TableBench):
    """A bench that answers by the kind of call; a list of replies is one for each sample."""

    def __init__(
        self, folder: Path, answer: Any = "number", *, table: Any = TEAMS, runtime: Any = None, **replies: Any
    ) -> None:
        self.replies = {**REPLIES, **replies}
        super().__init__(folder, self.script, table, "QUESTION-MARK how many?", answer, **(runtime or {}))

    def script(self, request: Any) -> Any:
        heads = {"Columns:": "columns", "f_row([": "rows", "Facts:": "cloze", "SQL:": "sql", "": "reason"}
        reply = self.replies[heads.get(request.begun, "decided")]
        return reply[int(request.sample.rpartition("/")[2])] if isinstance(reply, list) else reply

    def of(self, call: str) -> list[str]:
        return [flat(record.request) for record in self.records if record.call == call]

    async def date(self, **parameters: Any) -> Any:
        return await self.ask("dater", **{**ONES, **parameters})


async def test_it_reasons_over_the_chosen_part_and_what_sql_computed(tmp_path: Path) -> None:
    bench = Teams(tmp_path)

    answer = await bench.date()

    (reasoning,) = bench.of("reason")
    assert (answer.value, len(bench.texts)) == (2, 5)
    assert "ZEBRA7" not in reasoning and "YAK9" not in reasoning and "Blues" not in reasoning
    assert in_order(reasoning, ["Reds, 1", "Greens, 3", "QUESTION-MARK", "there are 2 teams with more than 2 goals"])
    assert "{}" not in reasoning


async def test_the_value_of_a_fact_is_what_the_whole_table_holds(tmp_path: Path) -> None:
    bench = Teams(tmp_path, table=[*TEAMS[:3], {**TEAMS[3], "goals": 9}])

    await bench.date()

    assert "there are 3 teams with more than 2 goals" in bench.of("reason")[0]


async def test_a_fact_whose_query_fails_is_left_out(tmp_path: Path) -> None:
    bench = Teams(tmp_path, sql="SELECT nothing")

    answer = await bench.date()

    assert (answer.value, len(bench.texts), answer.extra["facts"]) == (2, 5, [])
    assert bench.warned == ["program_failed"]
    assert "Facts computed" not in bench.of("reason")[0] and "teams with more" not in bench.of("reason")[0]


async def test_the_part_is_the_union_of_the_best_selections(tmp_path: Path) -> None:
    bench = Teams(tmp_path, columns=["team", "team", "goals"])

    answer = await bench.date(column_samples=3, column_sets=2)

    assert (answer.extra["columns"], len(bench.texts)) == (["team", "goals"], 7)
    assert "Reds, 1" in bench.of("reason")[0]


async def test_only_the_best_selections_are_in_the_union(tmp_path: Path) -> None:
    bench = Teams(tmp_path, columns=["goals", "team", "team"])

    answer = await bench.date(column_samples=3, column_sets=1)

    assert answer.extra["columns"] == ["team"]


async def test_the_first_calls_may_run_at_once_then_the_queries_then_the_reasoning(tmp_path: Path) -> None:
    bench = Teams(tmp_path, cloze="a {}\nb {}")
    settings = {"clozes": 2, "query_samples": 2}

    await bench.date(decide="constrain", **settings)

    assert bench.levels[:3] == [("columns", 1), ("rows", 1), ("cloze", 1)]
    assert bench.levels[3:] == [("sql", 2)] * 4 + [("reason", 3), ("reason", 4)]
    most = cost(configure({"dater": {**ONES, **settings}}, bench.project), bench.project, decide="constrain")
    assert (most.calls, most.requests, most.depth) == (8, 9, 4)
    assert len(bench.texts) == 9


@pytest.mark.parametrize(
    ("cloze", "sql", "facts"),
    [
        ("a {}", "SELECT 1", []),
        ("a {}\nb {}", "SELECT 0", []),
        ("a {}", "SELECT 7", ["a 7"]),
        ("a {}", "SELECT AVG(goals) FROM w", ["a 2.75"]),
        ("a {}", "SELECT SUM(goals) / 3.0 FROM w", ["a 3.666667"]),
        ("a {}", "SELECT 4.0", ["a 4"]),
        ("a {..} and b", "SELECT team FROM w LIMIT 2", ["a Reds, Blues and b"]),
        ("a {value} and b", "SELECT 7", ["a 7 and b"]),
        ("1. a {} and b {}", "SELECT 7, 8", ["a 7 and b 8"]),
        ("a {} and b {}", "SELECT 7", []),
        ("a {}", "SELECT team FROM w, (SELECT 1 UNION SELECT 2 UNION SELECT 3)", []),
        ("a {}", "SELECT NULL", []),
        ("none", "", []),
        ("there are 7 teams", "", []),
        ("", "", []),
        ("a {}", "DROP TABLE w", []),
    ],
)
async def test_facts_are_filled_by_sql_or_left_out(tmp_path: Path, cloze: str, sql: str, facts: list[str]) -> None:
    bench = Teams(tmp_path, cloze=cloze, sql=sql)

    assert (await bench.date()).extra["facts"] == facts


async def test_queries_vote_on_what_they_give_and_a_0_counts_a_third(tmp_path: Path) -> None:
    bench = Teams(tmp_path, sql=["SELECT 0", "SELECT 5", "SELECT 0"])

    assert (await bench.date(query_samples=3)).extra["facts"] == ["there are 5 teams with more than 2 goals"]


async def test_a_lone_count_of_one_is_left_out_though_another_query_failed(tmp_path: Path) -> None:
    bench = Teams(tmp_path, cloze="a {}\nb {}")
    script = bench.runtime.script

    def failing(request: Any) -> Any:
        if request.begun == "SQL:":
            return "SELECT" if "Fact: a {}" in flat(request).partition("<INPUT>")[2] else "SELECT 1"
        return script(request)

    bench.runtime.script = failing

    assert (await bench.date()).extra["facts"] == []


async def test_a_fact_keeps_its_own_value_where_another_has_none(tmp_path: Path) -> None:
    bench = Teams(tmp_path, cloze="a {}\nb {}")
    bench.replies["sql"] = "SELECT 5"
    script = bench.runtime.script

    def failing(request: Any) -> Any:
        return "SELECT" if request.begun == "SQL:" and "Fact: a {}" in flat(request) else script(request)

    bench.runtime.script = failing

    assert (await bench.date()).extra["facts"] == ["b 5"]


@pytest.mark.parametrize(("columns", "rows"), [("", ""), ("none", "f_row([*])"), ("nothing", "f_row([row 9])")])
async def test_an_empty_selection_keeps_all(tmp_path: Path, columns: str, rows: str) -> None:
    bench = Teams(tmp_path, columns=columns, rows=rows)

    await bench.date()

    assert "ZEBRA7, 2, d" in bench.of("reason")[0]


async def test_answers_weigh_by_how_likely_their_reasoning_was(tmp_path: Path) -> None:
    def reply(number: int, logprob: float) -> Reply:
        text = f"So therefore, the answer is: {number}"
        return Reply(text=text, tokens=(Token(b"so", logprob),))

    bench = Teams(tmp_path, reason=[reply(1, -3.0), reply(2, -0.1), reply(1, -3.0)])

    answer = await bench.date(samples=3)

    assert answer.value == 2
    assert answer.extra["votes"][0]["weight"] < answer.extra["votes"][1]["weight"]


async def test_without_log_probabilities_answers_are_counted(tmp_path: Path) -> None:
    reasons = [f"Therefore, the answer is: {number}" for number in (2, 1, 1)]
    bench = Teams(tmp_path, reason=reasons, runtime={"capabilities": without("logprobs")})

    answer = await bench.date(samples=3)

    assert answer.value == 1
    assert [vote["weight"] for vote in answer.extra["votes"]] == [1.0, 2.0]


async def test_no_prompt_holds_more_than_the_shown_rows(tmp_path: Path) -> None:
    table = [{"team": f"TEAM{number}.", "goals": number} for number in range(10_000)]
    bench = Teams(tmp_path, table=table, rows="*])", cloze="{} teams in all", sql="SELECT COUNT(*) FROM w")

    answer = await bench.date(shown_rows=5)

    assert answer.extra["facts"] == ["10000 teams in all"]
    assert all("TEAM5." not in text for text in bench.texts)
    assert "TEAM4." in bench.of("rows")[0] and "TEAM4." in bench.of("reason")[0]
    assert "TEAM3." not in bench.of("columns")[0] + bench.of("cloze")[0] + bench.of("sql")[0]


async def test_rows_chosen_out_of_sight_reach_the_reasoning(tmp_path: Path) -> None:
    table = [{"team": f"TEAM{number}.", "goals": number} for number in range(200)]
    bench = Teams(tmp_path, table=table, rows="row 150, row 198 to row 199])")

    answer = await bench.date()

    assert answer.extra["rows"] == [150, 198, 199]
    assert in_order(bench.of("reason")[0], ["TEAM149.", "TEAM197.", "TEAM198."])
    assert "TEAM0." not in bench.of("reason")[0]
    assert bench.warned == []


async def test_rows_that_are_not_shown_are_said_and_reported(tmp_path: Path) -> None:
    table = [{"team": f"TEAM{number}.", "goals": number} for number in range(200)]
    bench = Teams(tmp_path, table=table, rows="*])")

    await bench.date()

    assert "and 150 more rows" in bench.of("rows")[0]
    assert "The table has 200 rows. Only 50 of them are shown." in bench.of("reason")[0]
    assert bench.warned == ["rows_left_out"]


async def test_a_prompt_that_names_a_column_that_was_not_chosen_reads_it_as_blank(tmp_path: Path) -> None:
    prompt = (
        "---\ninputs: {table: {type: table}, question: {type: text}}\n---\n"
        "{% block input %}{% for row in table %}<{{ row.team }}/{{ row.YAK9 }}>{% endfor %}{{ question }}{% endblock %}"
    )
    bench = Teams(tmp_path, columns="team", runtime={"prompt": prompt})

    await bench.date()

    assert "<Reds/><Greens/>" in bench.of("reason")[0]


@pytest.mark.parametrize("table", [[], [{"a|b": "x\nrow 2 : y", "A|B": 1}], [{"row_id": 3}], [{"a": 1}, {"b": 2}, {}]])
async def test_hostile_tables_end_in_an_answer(tmp_path: Path, table: Any) -> None:
    bench = Teams(tmp_path, table=table)

    assert (await bench.date()).value == 2
    assert all("\nrow 2 : y" not in text for text in bench.of("rows"))


async def test_it_needs_sampling(tmp_path: Path) -> None:
    bench = Teams(tmp_path, runtime={"capabilities": without("sampling")})

    with pytest.raises(Unsupported, match="sampling"):
        await bench.date()


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    example = Example({"table": TEAMS, "question": "EXAMPLE-MARK"}, 4, "THOUGHTS-MARK")
    bench = Teams(tmp_path, decided="2")

    await bench.date(decide="constrain", examples=(example,))

    everything = "persona instructions constraints context output_format examples thoughts input recap cue"
    planning = "persona instructions constraints output_format input"
    assert [(record.call, held(flat(record.request))) for record in bench.records] == [
        ("columns", planning),
        ("rows", planning),
        ("cloze", planning),
        ("sql", "persona"),
        ("reason", everything),
        ("reason", everything),
    ]


async def test_selections_weigh_by_how_likely_they_were(tmp_path: Path) -> None:
    def reply(text: str, logprob: float) -> Reply:
        return Reply(text=text, tokens=(Token(b"x", logprob),))

    bench = Teams(tmp_path, columns=[reply("team", -5.0), reply("team", -5.0), reply("goals", -0.1)])

    assert (await bench.date(column_samples=3, column_sets=1)).extra["columns"] == ["goals"]
