"""`binder` (Cheng et al. 2023): SQL runs the query, and the model answers where the query calls it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.answers.base import Unparsed
from promptkit.errors import InputError
from promptkit.prompts.prompt import Example
from promptkit.runtimes.base import Reply, Token
from promptkit.techniques.cost import cost
from promptkit.techniques.methods.qa_queries import InvalidCall, outermost_calls, read_values
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import Bench, flat, held, in_order
from tests.techniques.tables import TableBench

CITIES = [
    {"name": "Paris", "pop": "2.1 million"},
    {"name": "Lyon", "pop": "516 thousand"},
    {"name": "Ulm", "pop": "126 thousand"},
]
MAPPED = """SELECT name FROM w WHERE QA("map@is it above 500000?"; pop) = 'yes' ORDER BY name"""


ONE_RECORD: Any = {
    "json": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "id": {"type": "integer"}},
        "required": ["name", "id"],
        "additionalProperties": False,
    }
}


class Cities(TableBench):
    def __init__(self, folder: Path, answers: Any, answer: Any = "list", **settings: Any) -> None:
        super().__init__(folder, answers, settings.pop("table", CITIES), "QUESTION-MARK which?", answer, **settings)

    async def bind(self, *, samples: int = 1, **parameters: Any) -> Any:
        given = {"samples": samples, "temperature": 0.0 if samples == 1 else 0.4, **parameters}
        return await self.ask("binder", decide=given.pop("decide", "generate"), **given)

    def calls(self) -> list[str]:
        return [record.call for record in self.records]

    def of(self, call: str) -> list[str]:
        return [flat(record.request) for record in self.records if record.call == call]


@pytest.mark.parametrize("decide", ["generate", "constrain"])
async def test_a_map_call_is_a_column_of_the_models_answers(tmp_path: Path, decide: str) -> None:
    bench = Cities(tmp_path, [MAPPED, "yes\nyes\nno"])

    answer = await bench.bind(decide=decide)

    assert answer.value == ["Lyon", "Paris"]
    assert bench.calls() == ["parse", "map"]
    assert "2.1 million" in bench.texts[1] and "is it above 500000?" in bench.texts[1]
    assert not any(name in bench.texts[1] for name in ("Paris", "Lyon", "Ulm", "QUESTION-MARK"))


async def test_the_models_answers_decide_and_not_what_is_true(tmp_path: Path) -> None:
    bench = Cities(tmp_path, [MAPPED, " Yes\nrow 2 : no\nrow 3 : yes"])

    assert (await bench.bind()).value == ["Paris", "Ulm"]


async def test_queries_vote_by_what_they_give_and_failed_ones_are_out(tmp_path: Path) -> None:
    queries = ["SELECT name FROM w LIMIT 1", "SELECT name FROM nowhere", "SELECT `name` FROM w WHERE pop LIKE '2%'"]
    bench = Cities(tmp_path, lambda request: queries[int(request.sample[-1])], "text")

    answer = await bench.bind(samples=3)

    assert (answer.value, answer.extra["unparsed"], bench.warned) == ("Paris", 1, ["program_failed"])
    assert [record.notes for record in bench.records if record.notes] == [("the query failed: no such table: nowhere",)]


async def test_a_tie_goes_to_the_likelier_query(tmp_path: Path) -> None:
    def reply(query: str, logprob: float) -> Reply:
        return Reply(text=query, tokens=(Token(b"x", logprob),))

    replies = [reply("SELECT 'Rome'", -2.0), reply("SELECT 'Ulm'", -0.5)]
    bench = Cities(tmp_path, lambda request: replies[int(request.sample[-1])], "text")

    assert (await bench.bind(samples=2)).value == "Ulm"


async def test_long_cells_are_read_whole_and_told_apart(tmp_path: Path) -> None:
    table = [{"name": name, "pop": "x" * 300 + name} for name in ("Lyon", "Ulm")]
    bench = Cities(tmp_path, [MAPPED, "no\nyes"], table=table)

    assert (await bench.bind()).value == ["Ulm"]
    assert "xLyon" in bench.texts[1] and "xUlm" in bench.texts[1]


async def test_inner_calls_are_answered_before_outer_ones(tmp_path: Path) -> None:
    query = """QA("ans@which is a town?"; SELECT name FROM w WHERE QA("map@small?"; pop) = 'yes')"""
    bench = Cities(tmp_path, [query, "no\nno\nyes", "Ulm"], "text")

    answer = await bench.bind()

    assert (answer.value, bench.calls()) == ("Ulm", ["parse", "map", "ans"])
    assert "Ulm" in bench.texts[2] and "Paris" not in bench.texts[2]
    assert bench.levels == [("parse", 1), ("map", 2), ("ans", 3)]


async def test_a_reply_with_too_few_values_is_not_joined(tmp_path: Path) -> None:
    bench = Cities(tmp_path, [MAPPED, "yes\nno"])

    answer = await bench.bind()

    assert (answer.value, answer.flag, len(bench.texts)) == (None, "unparsed", 2)


async def test_values_are_joined_by_row_and_not_by_place(tmp_path: Path) -> None:
    query = """SELECT name FROM w WHERE QA("map@big?"; SELECT pop FROM w WHERE name <> 'Paris') = 'yes'"""
    bench = Cities(tmp_path, [query, "no\nyes"], "text")

    answer = await bench.bind()

    assert answer.value == "Ulm"
    assert "2.1 million" not in bench.texts[1]


async def test_a_question_is_asked_once_for_cells_that_are_the_same_and_in_chunks(tmp_path: Path) -> None:
    table = [{"name": f"n{number}", "kind": f"k{number % 5}"} for number in range(1000)]

    def script(request: Any) -> str:
        text = flat(request)
        if request.begun.startswith("row"):
            cells = [line.partition(" : ")[2] for line in text.splitlines() if line.startswith("row ")]
            return "\n".join("yes" if cell == "k3" else "no" for cell in cells if cell.startswith("k"))
        return """SELECT COUNT(*) FROM w WHERE QA("map@is it three?"; kind) = 'yes'"""

    bench = Cities(tmp_path, script, "number", table=table)

    answer = await bench.bind(chunk=2)

    assert (answer.value, bench.calls()) == (200, ["parse", "map", "map", "map"])
    assert [level for _, level in bench.levels] == [1, 2, 2, 2]
    most = cost(configure({"binder": {"samples": 1}}, bench.project), bench.project)
    assert most.calls == most.requests == 4


@pytest.mark.parametrize(
    ("query", "rows", "problem"),
    [
        ('SELECT QA("map@a"; pop), QA("map@b"; pop), QA("map@c"; pop) FROM w', 2, "more than 2 QA calls"),
        (MAPPED, 2001, "more than 100 requests"),
    ],
)
async def test_a_query_that_would_ask_too_often_is_no_answer(
    tmp_path: Path, query: str, rows: int, problem: str
) -> None:
    table = [{"name": f"n{number}", "pop": str(number)} for number in range(rows)]
    bench = Cities(tmp_path, lambda request: "a\nb" if request.begun.startswith("row") else query, table=table)

    answer = await bench.bind(asked=2)

    assert (answer.value, answer.extra["capped"], bench.warned) == (None, True, ["capped"])
    assert problem in (answer.problem or "")
    assert len(bench.calls()) <= 3


async def test_samples_without_an_answer_say_why_the_first_has_none(tmp_path: Path) -> None:
    bench = Cities(tmp_path, lambda request: "SELECT name FROM nowhere")

    answer = await bench.bind(samples=2)

    assert answer.problem == "no sample has an answer; the first: no such table: nowhere"


async def test_a_call_about_each_row_grows_with_the_table(tmp_path: Path) -> None:
    table = [{"name": f"n{number}", "pop": str(number)} for number in range(200)]

    def script(request: Any) -> str:
        count = sum(
            line.startswith("row ") for line in request.messages[-1].content.partition("<INPUT>")[2].split("\n")
        )
        return "\n".join(["yes"] * count) if request.begun.startswith("row") else MAPPED

    bench = Cities(tmp_path, script, table=table)

    assert (len((await bench.bind()).value), len(bench.texts)) == (200, 1 + 10)


async def test_rows_that_a_call_does_not_read_are_said_and_reported(tmp_path: Path) -> None:
    table = [{"name": f"n{number}"} for number in range(201)]
    bench = Cities(tmp_path, ['QA("ans@which?"; name)', "n7"], "text", table=table)

    assert (await bench.bind()).value == "n7"
    assert "row 200 : n199\nand 1 more rows" in bench.texts[1]
    assert bench.warned == ["rows_left_out"]
    assert "2 | n2\nand 198 more rows" in bench.texts[0]


@pytest.mark.parametrize(
    ("query", "replies", "expected"),
    [
        ('SELECT name FROM w WHERE name IN QA("ans@which?"; name)', ["Paris\nUlm"], ["Paris", "Ulm"]),
        ('SELECT name FROM w WHERE name IN (QA("ans@which?"; name))', ["1. Paris\n2. Ulm"], ["Paris", "Ulm"]),
        ('SELECT name FROM w WHERE name NOT IN (QA("ans@which?"; name))', ["Paris"], ["Lyon", "Ulm"]),
        ('SELECT name FROM w WHERE name IN (QA("ans@which?"; name))', ["none"], None),
        ('SELECT name FROM w WHERE name = QA("ans@which?"; name)', ["it's"], None),
        ('SELECT name FROM w WHERE name = QA("ans@which?"; name)', ["x' OR 1=1 --"], None),
        ("SELECT name FROM w WHERE row_id < QA(\"ans@how many?\"; 'two of them')", ["2"], ["Paris", "Lyon"]),
        ('SELECT name FROM w WHERE 6 < QA("ans@how many?"; name)', ["3"], None),
        ('SELECT name FROM w WHERE 2 < QA("ans@how many?"; name) LIMIT 1', ["3"], ["Paris"]),
        ("SELECT name FROM w ORDER BY QA('map@rank', `pop`) + 0", ["2\n3\n1"], ["Ulm", "Paris", "Lyon"]),
        ("```sql\nSELECT name FROM w WHERE QA(\"map@x?\"; [name]; POP) = 'y';\n```", ["n\ny\nn"], ["Lyon"]),
        ('QA("map@in which country?"; name)', ["France\nFrance\nGermany"], ["France", "France", "Germany"]),
    ],
)
async def test_calls_stand_wherever_a_column_or_a_value_may(
    tmp_path: Path, query: str, replies: list[str], expected: Any
) -> None:
    bench = Cities(tmp_path, [query, *replies])

    answer = await bench.bind()

    assert (answer.value, len(bench.texts)) == (expected, 1 + len(replies))


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM w",
        "DROP TABLE w",
        "SELECT name FROM w; DELETE FROM w",
        "INSERT INTO w (name) VALUES ('x')",
        'SELECT name FROM w WHERE QA("map@big?"; pop',
        'SELECT name FROM w WHERE QA("big?"; pop) = 1',
        'SELECT QA("map@a"; QA("map@b"; QA("map@c"; QA("map@d"; pop)))) FROM w',
        'SELECT QA("map@big?"; nothing) FROM w',
        'SELECT QA("map@big?"; SELECT DISTINCT 99 AS row_id, pop FROM w) FROM w',
        'SELECT QA("map@big?"; SELECT DISTINCT pop AS row_id FROM w) FROM w',
        'SELECT QA("map@big?"; SELECT DISTINCT pop FROM w) FROM w',
        "I do not know.",
        "",
        "SELECT name FROM w WHERE 1 = 0",
        "SELECT NULL",
    ],
)
async def test_a_query_that_writes_or_is_wrong_or_gives_nothing_is_no_answer(tmp_path: Path, query: str) -> None:
    bench = Cities(tmp_path, [query])

    answer = await bench.bind()

    assert (answer.value, answer.flag) == (None, "unparsed")
    assert len(bench.texts) == 1


@pytest.mark.parametrize(
    ("answer_type", "query", "expected"),
    [
        ("number", "SELECT COUNT(*) FROM w", 3),
        ("number", "SELECT AVG(row_id) / 3 FROM w", 0.333333),
        ("boolean", "SELECT COUNT(*) = 3 FROM w", True),
        ("text", "SELECT name FROM w", "Paris, Lyon, Ulm"),
        ("list", "SELECT row_id * 1.0 FROM w", ["0", "1", "2"]),
        ("list", "SELECT row_id FROM w", ["0", "1", "2"]),
        ({"list": {"of": "number"}}, "SELECT row_id FROM w", [0, 1, 2]),
        ({"label": ["Ulm", "Paris"]}, "SELECT name FROM w ORDER BY name DESC LIMIT 1", "Ulm"),
        ({"label": ["Ulm", "Paris"]}, "SELECT 'Rome'", None),
        ({"label": ["true", "false"]}, "SELECT COUNT(*) = 3 FROM w", "true"),
        ({"label": ["yes", "no"]}, "SELECT COUNT(*) = 4 FROM w", "no"),
        ("json", "SELECT name, row_id AS id FROM w LIMIT 1", [{"name": "Paris", "id": 0}]),
        (ONE_RECORD, "SELECT name, row_id AS id FROM w LIMIT 1", {"name": "Paris", "id": 0}),
        (
            {"list": {"of": {"json": ONE_RECORD["json"]}}},
            "SELECT name, 1 AS id FROM w LIMIT 1",
            [{"name": "Paris", "id": 1}],
        ),
        ("text", "SELECT name, row_id FROM w LIMIT 1", "Paris, 0"),
    ],
)
async def test_cells_become_the_answer_of_the_type(tmp_path: Path, answer_type: Any, query: str, expected: Any) -> None:
    bench = Cities(tmp_path, [query], answer_type)

    assert (await bench.bind()).value == expected


@pytest.mark.parametrize(
    ("answer_type", "query", "expected"),
    [
        ("list", "SELECT males FROM w", ["13 551", "$1,200"]),
        ("text", "SELECT males FROM w WHERE males > 1200", "13 551"),
        ("text", "SELECT males FROM w", "13 551, $1,200"),
        ("text", "SELECT MAX(males) FROM w", "13551"),
        ("number", "SELECT males FROM w LIMIT 1", 13551),
        ({"list": {"of": "number"}}, "SELECT males FROM w", [13551, 1200]),
        ({"label": ["$1,200", "13 551"]}, "SELECT males FROM w WHERE males < 2000", "$1,200"),
    ],
)
async def test_a_number_that_is_a_cell_is_text_as_it_stands_in_the_table(
    tmp_path: Path, answer_type: Any, query: str, expected: Any
) -> None:
    bench = Cities(tmp_path, [query], answer_type, table=[{"males": "13 551"}, {"males": "$1,200"}])

    assert (await bench.bind()).value == expected


async def test_odd_names_are_shown_as_a_query_can_write_them(tmp_path: Path) -> None:
    table = [{"Größe (m)": "3", "order": "x\ny", "Order": None, "": "1", "row_id": "7"}]
    query = "SELECT `Größe (m)` + `order_2` || row_id_2 FROM w"
    bench = Cities(tmp_path, [query], "text", table=table, prompt=ROWS)

    await bench.bind()

    shown = "(row_id INTEGER, `Größe (m)` INTEGER, `order` TEXT, Order_2 TEXT, column_4 INTEGER, row_id_2 INTEGER)"
    assert f"CREATE TABLE w {shown}" in bench.texts[0]
    assert "0 | 3 | x y |  | 1 | 7" in bench.texts[0]


ROWS = """\
---
inputs: {table: {type: table}, question: {type: text}}
---
{% block input %}{{ table | length }} ROWS {{ question }}{% endblock %}
"""


async def test_a_prompt_holds_three_rows_of_a_table_however_large(tmp_path: Path) -> None:
    table = [{"name": f"ROW{number}", "pop": "1"} for number in range(10_000)]
    bench = Cities(tmp_path, ["SELECT COUNT(*) FROM w"], "number", table=table)

    answer = await bench.bind()

    assert answer.value == 10_000
    assert "ROW2" in bench.texts[0] and "ROW3" not in bench.texts[0]


@pytest.mark.parametrize("table", [[], [{"a": None}], [{}]])
async def test_a_table_without_cells_has_an_answer_or_none(tmp_path: Path, table: Any) -> None:
    bench = Cities(tmp_path, ["SELECT COUNT(*) FROM w"], "number", table=table, prompt=ROWS)

    assert (await bench.bind()).value == len(table)


async def test_what_is_no_table_is_the_persons_error(tmp_path: Path) -> None:
    bench = Cities(tmp_path, [], table="a, b", prompt=ROWS)

    with pytest.raises(InputError, match="role `table`"):
        await bench.bind()


async def test_several_queries_need_a_temperature(tmp_path: Path) -> None:
    bench = Cities(tmp_path, [])

    with pytest.raises(InputError, match="temperature > 0"):
        await bench.ask("binder", samples=3, temperature=0.0)


async def test_a_table_must_be_among_the_inputs(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [])

    with pytest.raises(InputError, match="no input plays the role `table`"):
        await perform("binder", bench.step())


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    query = """SELECT name FROM w WHERE QA("map@x"; pop) = 'yes' AND name = QA("ans@y"; name)"""
    examples = (Example({"table": [], "question": "EXAMPLE-MARK"}, ["x"]),)

    def script(request: Any) -> str:
        return "yes\nyes\nyes" if request.begun == "row 1 :" else "Ulm" if request.begun == "Answer:" else query

    bench = Cities(tmp_path, script)

    answer = await bench.ask("binder", samples=1, temperature=0.0, examples=examples)

    assert answer.value == ["Ulm"]
    assert sorted((record.call, held(flat(record.request))) for record in bench.records) == [
        ("ans", "persona"),
        ("map", "persona"),
        ("parse", "persona instructions constraints context output_format input"),
    ]
    assert in_order(bench.texts[0], ["INSTRUCTIONS-MARK", "Write one SQLite query", "QUESTION-MARK", "CREATE TABLE w"])


def test_a_call_is_found_with_its_kind_its_question_and_its_arguments() -> None:
    (call,) = outermost_calls("""SELECT a FROM w WHERE QA("MAP@is ""it"" (really); so?"; `a;b`; c) = 1""")

    assert (call.kind, call.question, call.arguments) == ("map", 'is "it" (really); so?', ("`a;b`", "c"))


def test_calls_in_quotes_or_in_longer_names_are_none() -> None:
    assert outermost_calls("""SELECT 'QA("map@x"; y)', FAQA(1) FROM w WHERE a = 'it''s QA('""") == []


def test_calls_inside_a_call_belong_to_it() -> None:
    query = """QA("ans@x"; SELECT a, (b) FROM w WHERE QA("map@y"; c) = ')')"""
    (call,) = outermost_calls(query)

    assert (call.start, call.end) == (0, len(query))
    assert call.arguments == ("""SELECT a, (b) FROM w WHERE QA("map@y"; c) = ')'""",)


@pytest.mark.parametrize(
    "query", ['QA("map@x"; a', 'QA("map@x"', "QA(", 'QA("map@"; a)', 'QA("what@x"; a)', 'QA("map@x")', 'QA("map@x; a)']
)
def test_a_call_that_is_not_closed_or_not_of_its_form_is_told(query: str) -> None:
    with pytest.raises(InvalidCall):
        outermost_calls(query)


@pytest.mark.parametrize(
    "reply",
    [
        "yes\n\nno\nyes",
        "row 1 : yes\nrow 2: no\nrow 3 | yes",
        "1 | yes\n2 | no\n3 | yes",
        "| 1 | yes |\n| 2 | no |\n| 3 | yes |",
        "Answers:\nyes\nno\nyes",
        "1. yes\n2. no\n3) yes",
        "yes, no, yes",
        '["yes", "no", "yes"]',
    ],
)
def test_values_are_read_in_the_forms_that_models_write(reply: str) -> None:
    assert read_values(reply, 3) == ["yes", "no", "yes"]


@pytest.mark.parametrize("reply", ["Arl | yes\nBenz | no\nCorv | yes", "yes\nno", "yes", ""])
def test_values_in_another_form_are_refused(reply: str) -> None:
    with pytest.raises(Unparsed):
        read_values(reply, 3)


def test_values_of_one_row_may_hold_commas() -> None:
    assert read_values("rice, butter", 1) == ["rice, butter"]
