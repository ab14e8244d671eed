"""`chain_of_table` (Wang et al. 2024): the model chooses, code changes the table, the last table is what is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.prompts.prompt import Example
from promptkit.runtimes.base import Reply, Token
from promptkit.techniques.cost import cost
from promptkit.techniques.methods.table_chain import number_in, read_added, sort_keys
from promptkit.techniques.methods.tables import WorkingTable, read_columns, read_rows
from promptkit.techniques.spec import configure
from promptkit.tools.tables import Table
from tests.techniques.steps import flat, held, in_order
from tests.techniques.tables import TableBench

SCORERS = [{"name": "Ann", "goals": "9"}, {"name": "Bob", "goals": "10"}, {"name": "Cid ZEBRA7", "goals": "2"}]
SELECT = ["f_select_row(row 1, row 2) -> <END>", "f_row([row 1, row 2])"]
SORT = "f_sort_column(goals) -> <END>"
SORTED = 'f_sort(goals), the order is "large to small". The datatype is Numerical.'
RUNNERS = [
    {"runner": f"{name} ({country})", "time": time}
    for name, country, time in [
        ("Lind", "SWE", 1),
        ("Mora", "ESP", 2),
        ("Holm", "SWE", 3),
        ("Ruiz", "ESP", 4),
        ("Berg", "SWE", 5),
    ]
]


class Chained(TableBench):
    def __init__(
        self, folder: Path, answers: Any, answer: Any = "text", *, table: Any = SCORERS, **settings: Any
    ) -> None:
        super().__init__(folder, answers, table, "QUESTION-MARK who has the most?", answer, **settings)

    async def chain(self, **parameters: Any) -> Any:
        return await self.ask("chain_of_table", **parameters)

    @property
    def calls(self) -> list[str]:
        return [record.call for record in self.records]


@pytest.mark.parametrize("decide", ["generate", "constrain"])
async def test_each_operation_is_done_by_code_and_the_next_call_sees_the_changed_table(
    tmp_path: Path, decide: str
) -> None:
    bench = Chained(tmp_path, [*SELECT, SORT, SORTED, "Bob"])

    answer = await bench.chain(decide=decide)

    assert (answer.value, bench.calls) == ("Bob", ["plan", "select_row", "plan", "sort_column", "answer"])
    assert not any("ZEBRA7" in text for text in bench.texts[2:])
    assert in_order(bench.texts[4], ["Bob, 10", "Ann, 9", "QUESTION-MARK"])
    assert answer.extra["operations"] == ["f_select_row(1, 2)", "f_sort_column(goals)"]
    assert [level for _, level in bench.levels] == [1, 2, 3, 4, 5]


async def test_arguments_that_do_not_fit_leave_the_operation_out_and_it_is_not_offered_again(tmp_path: Path) -> None:
    bench = Chained(tmp_path, [*SELECT, SORT, SORTED.replace("goals", "points"), "<END>", "Bob"])

    answer = await bench.chain()

    offered = [text.partition("nothing else: ")[2].partition(".\n")[0] for text in bench.texts[:-1]]
    assert (answer.value, len(bench.texts), answer.extra["skipped"]) == ("Bob", 6, ["sort_column"])
    assert [line for line in offered if line] == [
        "f_add_column, f_select_row, f_select_column, f_group_column, f_sort_column",
        "f_select_column, f_group_column, f_sort_column, <END>",
        "f_select_column, f_group_column, <END>",
    ]
    assert "- f_sort_column" not in bench.texts[4]


async def test_a_plan_that_names_nothing_allowed_ends_the_chain(tmp_path: Path) -> None:
    bench = Chained(tmp_path, ["f_drop_table()", "Bob"])

    answer = await bench.chain()

    assert (answer.value, bench.calls, answer.extra["operations"]) == ("Bob", ["plan", "answer"], [])


async def test_the_plan_shows_the_operations_so_far_and_the_task(tmp_path: Path) -> None:
    bench = Chained(tmp_path, [*SELECT, SORT, SORTED, "true"], {"label": ["true", "false"]})

    await bench.chain()

    assert "Operations so far: none\n" in bench.texts[0].partition("<INPUT>")[2]
    assert "Operations so far: f_select_row(1, 2)\n" in bench.texts[2].partition("<INPUT>")[2]
    assert bench.runtime.requests[2].begun == "Next operation:"
    for text in bench.texts[:-1]:
        assert in_order(text, ["INSTRUCTIONS-MARK", 'these labels: "true", "false".'])


async def test_at_the_cap_no_further_plan_is_asked_for(tmp_path: Path) -> None:
    bench = Chained(tmp_path, [*SELECT, "Bob"])

    answer = await bench.chain(operations=1)

    assert (answer.value, len(bench.texts), answer.extra["capped"]) == ("Bob", 3, True)
    most = cost(configure("chain_of_table", bench.project), bench.project)
    assert most.calls == most.requests == most.depth == 8


async def test_rows_keep_the_numbers_that_they_had_at_first(tmp_path: Path) -> None:
    bench = Chained(tmp_path, ["f_select_row", "row 2, row 3])", "f_select_column", "name", "<END>", "Bob"])

    await bench.chain()

    assert "row 2 : Bob | 10\nrow 3 : Cid ZEBRA7 | 2" in bench.texts[2].partition("<INPUT>")[2]
    assert "col : name\nrow 2 : Bob\nrow 3 : Cid ZEBRA7" in bench.texts[4].partition("<INPUT>")[2]


async def test_grouping_adds_a_view_and_keeps_the_rows(tmp_path: Path) -> None:
    table = [{"city": f"c{number}", "country": "NO" if number != 1 else "SE"} for number in range(5)]
    bench = Chained(tmp_path, ["f_group_column(country)", "country", "<END>", "NO"], table=table)

    answer = await bench.chain()

    assert answer.value == "NO"
    assert in_order(bench.texts[3], ["c0, NO", "c4, NO", "col : country | count", "row 1 : NO | 4", "row 2 : SE | 1"])


async def test_grouping_what_differs_in_most_rows_is_left_out(tmp_path: Path) -> None:
    bench = Chained(tmp_path, ["f_group_column(name)", "name", "no", "Bob"])

    answer = await bench.chain()

    assert answer.extra["skipped"] == ["group_column"]
    assert "count" not in bench.texts[-1]


async def test_a_table_that_is_in_order_already_is_not_sorted_again(tmp_path: Path) -> None:
    said = 'goals), the order is "small to large". The datatype is Numerical.'
    bench = Chained(tmp_path, ["f_sort_column", said, "no", "Bob"], table=[{"goals": 2}, {"goals": 10}])

    assert (await bench.chain()).extra["skipped"] == ["sort_column"]


ADDED = "country)\nDerived from: the letters in brackets\nrow 1 : SWE\nrow 2 : ESP\nrow 3 : SWE"


async def test_a_column_is_added_by_one_call_where_the_table_is_small(tmp_path: Path) -> None:
    reply = f"{ADDED}\nrow 4 : ESP\nrow 5 : SWE"
    bench = Chained(tmp_path, ["f_add_column", reply, "<END>", "SWE"], table=RUNNERS)

    answer = await bench.chain()

    assert (answer.value, bench.calls) == ("SWE", ["plan", "add_column", "plan", "answer"])
    assert in_order(bench.texts[3], ["Lind (SWE), 1, SWE", "Berg (SWE), 5, SWE"])


async def test_a_column_is_added_by_a_call_a_row_where_that_is_allowed(tmp_path: Path) -> None:
    def script(request: Any) -> str:
        text = flat(request)
        if request.begun == "country:":
            return " ESP" if "Ruiz (ESP) | 4" in text else " SWE"
        replies = {"f_add_column(": ADDED, "Next operation:": "f_add_column"}
        return replies.get(request.begun, "<END>" if request.begun else "SWE")

    bench = Chained(tmp_path, script, table=RUNNERS)

    answer = await bench.ask("chain_of_table", row_calls=2)

    values = [text for text in bench.texts if text.endswith("country:")]
    assert bench.calls == ["plan", "add_column", "add_value", "add_value", "plan", "answer"]
    assert all("Lind (SWE)" not in text and "the letters in brackets" in text for text in values)
    assert [level for _, level in bench.levels] == [1, 2, 3, 3, 4, 5]
    assert in_order(bench.texts[-1], ["Ruiz (ESP), 4, ESP", "Berg (SWE), 5, SWE"])
    assert answer.extra["operations"] == ["f_add_column(country)"]


@pytest.mark.parametrize(
    "reply",
    [
        "time)\nrow 1 : 1\nrow 2 : 2",
        "country)\nrow 1 : SWE",
        "country)\nrow 1 : SWE\nrow 2 : SWE",
        "country)\nrow 1 : Sweden\nrow 2 : Spain",
        "country)\nrow 1 : SWE\nrow 2 :",
        ")\nrow 1 : SWE\nrow 2 : ESP",
        "",
    ],
)
async def test_a_column_that_is_there_or_no_part_of_another_is_left_out(tmp_path: Path, reply: str) -> None:
    bench = Chained(tmp_path, ["f_add_column", reply, "no", "SWE"], table=RUNNERS[:2])

    answer = await bench.chain()

    assert answer.extra["skipped"] == ["add_column"]


async def test_a_column_is_not_offered_to_a_large_table(tmp_path: Path) -> None:
    table = [{"name": f"ROW{number}.", "goals": number} for number in range(10_000)]
    said = 'goals), the order is "large to small". The datatype is Numerical.'
    bench = Chained(tmp_path, ["f_sort_column(goals)", said, "ROW9999."], table=table)

    answer = await bench.chain(shown_rows=4)

    assert answer.value == "ROW9999."
    assert "- f_add_column" not in bench.texts[0]
    assert all("ROW4." not in text for text in bench.texts)
    assert "and 9996 more rows" in bench.texts[0]
    assert in_order(bench.texts[2], ["ROW9999.", "ROW9996.", "has 10000 rows. Only 4 of them are shown."])
    assert "ROW9995." not in bench.texts[2]
    assert bench.warned == ["rows_left_out"]


async def test_of_several_selections_the_best_two_are_united(tmp_path: Path) -> None:
    def reply(text: str, logprob: float) -> Reply:
        return Reply(text=text, tokens=(Token(b"x", logprob),))

    def script(request: Any) -> Any:
        if request.begun == "f_row([":
            samples = [reply("row 1])", -4.0), reply("row 2])", -0.1), reply("row 3])", -1.0)]
            return samples[int(request.sample[-1])]
        return "Bob" if not request.begun or "Output" in request.begun or "CUE" in request.begun else "f_select_row"

    bench = Chained(tmp_path, script)

    answer = await bench.chain(operations=1, samples=3, temperature=0.5)

    assert answer.extra["operations"] == ["f_select_row(2, 3)"]
    most = cost(configure({"chain_of_table": {"operations": 1, "samples": 3}}, bench.project), bench.project)
    assert len(bench.texts) == 5 <= most.requests


async def test_several_selections_need_a_temperature(tmp_path: Path) -> None:
    bench = Chained(tmp_path, ["f_select_row"])

    with pytest.raises(InputError, match="temperature > 0"):
        await bench.chain(samples=8)


@pytest.mark.parametrize("table", [[], [{}], [{"a|b": "x\nrow 9 : y", "A|B": 1}], [{"a": 1}, {"b": 2}]])
@pytest.mark.parametrize("operation", ["add_column", "select_row", "select_column", "group_column", "sort_column"])
async def test_hostile_tables_and_replies_end_in_an_answer(tmp_path: Path, table: Any, operation: str) -> None:
    bench = Chained(tmp_path, lambda request: f"f_{operation} [9](" if "f_" in flat(request) else "Bob", table=table)

    answer = await bench.chain()

    assert answer.value == "Bob"
    assert not any("\nrow 9" in text for text in bench.texts[:-1])


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    example = Example({"table": SCORERS, "question": "EXAMPLE-MARK"}, "Ann", "THOUGHTS-MARK")
    bench = Chained(tmp_path, [*SELECT, SORT, SORTED, "Bob"])

    await bench.chain(examples=(example,))

    shown = [(record.call, held(flat(record.request))) for record in bench.records]
    planning = "persona instructions constraints output_format input"
    assert shown == [
        ("plan", planning),
        ("select_row", planning),
        ("plan", planning),
        ("sort_column", planning),
        ("answer", "persona instructions constraints context output_format examples input recap cue"),
    ]


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("10", 10),
        ("$1,234.50", 1234.5),
        ("-3", -3),
        ("−3 °C", -3),
        ("about 5 km", 5),
        ("1 420 436", 1420436),
        ("5 2020", 5),
        ("2:07", 127),
        ("1:02:03.5 h", 3723.5),
        (".5", 0.5),
        (7, 7),
        ("x", None),
        (None, None),
    ],
)
def test_the_number_of_a_cell_is_read_without_what_stands_around_it(cell: Any, number: float | None) -> None:
    assert number_in(cell) == number


@pytest.mark.parametrize(
    ("datatype", "descending", "order"),
    [
        ("Numerical", False, ["-4", "9", "1,000 km", "", "x"]),
        ("Numerical", True, ["1,000 km", "9", "-4", "", "x"]),
        ("String", False, ["-4", "1,000 km", "9", "x", ""]),
        ("", False, ["-4", "1,000 km", "9", "x", ""]),
    ],
)
def test_sorting_is_by_number_or_by_text_and_cells_without_a_key_come_last(
    datatype: str, descending: bool, order: list[str]
) -> None:
    work = WorkingTable.of(Table.of([{"a": cell} for cell in ["1,000 km", "", "9", "x", "-4"]]))
    keys = sort_keys(work.column("a"), datatype)

    assert keys is not None
    assert work.sort(keys, descending=descending).column("a") == order


@pytest.mark.parametrize("datatype", ["Date", "Boolean", "Currency"])
def test_a_datatype_that_cannot_be_sorted_has_no_keys(datatype: str) -> None:
    assert sort_keys(["b", "a"], datatype) is None


@pytest.mark.parametrize("datatype", ["Date", "Numerical", "String", ""])
def test_dates_sort_in_time_whatever_the_datatype_is_said_to_be(datatype: str) -> None:
    born = ["13 February 1686", "October 1679", "19 July 1681", "15 July 1689", ""]
    keys = sort_keys(born, datatype)

    assert keys is not None and keys.pop() is None
    assert sorted(born[:-1], key=lambda cell: keys[born.index(cell)]) == [
        "October 1679",
        "19 July 1681",
        "13 February 1686",
        "15 July 1689",
    ]


async def test_a_column_that_cannot_be_sorted_leaves_the_operation_out(tmp_path: Path) -> None:
    said = 'name), the order is "small to large". The datatype is Colour.'
    bench = Chained(tmp_path, ["f_sort_column", said, "<END>", "Bob"])

    assert (await bench.chain()).extra["skipped"] == ["sort_column"]


def test_names_are_read_in_any_case_and_the_longest_first() -> None:
    columns = ["Goals", "Goals (away)", "a", "Größe"]

    assert read_columns("f_sort_column(goals (AWAY), größe, nothing)", columns) == ["Goals (away)", "Größe"]


def test_rows_are_read_by_their_numbers() -> None:
    assert read_rows("the 7 best: f_row([row 9, row 2, row 40])", [2, 7, 9]) == [2, 9]
    assert read_rows("*", [2, 7]) == [2, 7]
    assert read_rows("f_row([*])", [2, 7]) == [2, 7]
    assert read_rows("none", [2, 7]) == []
    assert read_rows("row 7 to row 9, row 2", range(1, 20)) == [2, 7, 8, 9]
    assert read_rows("rows 7-9", range(1, 20)) == [7, 8, 9]
    assert read_rows("row 3 … row 5", range(1, 5)) == [3, 4]


def test_an_added_column_is_read_with_its_name_its_derivation_and_its_cells() -> None:
    assert read_added(ADDED) == ("country", "the letters in brackets", ["SWE", "ESP", "SWE"])
    assert read_added(f"f_add_column({ADDED}")[0] == "country"
