"""Tables and model-written SQL over them: what a query reads, what it may not, and what it costs at most."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.tools.tables import QueryFailed, Selection, Table, run_query

MEDALS = Table.of(
    [
        {"Nation": "Norway", "Gold": 16, "Prize": "$1,200", "Share": "45%", "Host city": "Oslo"},
        {"Nation": "Łotwa", "Gold": 1, "Prize": "$90.50", "Share": "–", "Host city": None},
        {"Nation": "Italy", "Gold": 2, "Prize": "$5", "Share": "5.5%", "Host city": "Milan"},
    ]
)
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
LIKE = "hex(zeroblob(40000)) LIKE '%'||substr(hex(zeroblob(40000)), 1, 9900)||'1%'"


def test_a_table_has_the_columns_of_all_its_rows() -> None:
    table = Table.of([{"a": 1}, {"b": "2", "a": None}])
    assert table == Table(("a", "b"), ((1, None), (None, "2")))


def test_a_list_of_lists_begins_with_the_header() -> None:
    table = Table.of([["name", "year"], ["Ada", 1815], ["Grace"], ["Alan", 1912, "late"]])
    assert table.columns == ("name", "year", "column_3")
    assert table.rows == (("Ada", 1815, None), ("Grace", None, None), ("Alan", 1912, "late"))


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        (["a", "a", "a"], ("a", "a_2", "a_3")),
        (["a", "a", "a_2"], ("a", "a_3", "a_2")),
        (["Name", "name"], ("Name", "name_2")),
        (["", None, "  "], ("column_1", "column_2", "column_3")),
        (["", "column_1"], ("column_1_2", "column_1")),
        (["two\nlines  wide", 7], ("two lines wide", "7")),
    ],
)
def test_names_of_columns_are_made_different(header: list[Any], columns: tuple[str, ...]) -> None:
    assert Table.of([header]).columns == columns


@given(st.lists(st.one_of(st.none(), st.sampled_from(["", "a", "A", "a_2", "A_2", "column_1", "a_2_2"]))))
def test_names_of_columns_are_always_different(header: list[Any]) -> None:
    columns = Table.of([header]).columns
    assert len({name.lower() for name in columns}) == len(header)
    assert all(columns)


def test_cells_stay_as_they_were_given() -> None:
    assert MEDALS.rows[0] == ("Norway", 16, "$1,200", "45%", "Oslo")


@pytest.mark.parametrize("value", [None, 3, "a,b", [1, 2], [{"a": 1}, [1]], ["ab", "cd"]])
def test_what_is_no_table_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="a table"):
        Table.of(value)


def test_parts_are_selected_in_the_order_they_are_named() -> None:
    assert MEDALS.select(["Gold", "Nation"], [2, 0]) == Table(("Gold", "Nation"), ((2, "Italy"), (16, "Norway")))
    assert MEDALS.select() == MEDALS
    with pytest.raises(KeyError):
        MEDALS.select(["Silver"])
    with pytest.raises(IndexError):
        MEDALS.select(rows=[-1])


async def test_a_query_reads_the_copy_with_its_row_numbers() -> None:
    selection = await run_query(MEDALS, "SELECT row_id, Nation FROM w WHERE Gold < 10")
    assert selection == Selection(("row_id", "Nation"), ((1, "Łotwa"), (2, "Italy")))


@pytest.mark.parametrize("name", ['"Host city"', "`Host city`", "[Host city]", '"HOST CITY"'])
async def test_names_may_be_quoted_in_any_way(name: str) -> None:
    assert (await run_query(MEDALS, f"select {name} from W where NATION = 'NORWAY'")).rows == (("Oslo",),)


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("SELECT Nation FROM w WHERE Prize > 90 AND Prize < 100", "Łotwa"),
        ("SELECT max(Prize) FROM w", 1200),
        ("SELECT Nation FROM w ORDER BY Share DESC LIMIT 1", "Norway"),
        ("SELECT count(*) FROM w WHERE Share IS NULL", 1),
        ("SELECT Nation FROM w WHERE Nation LIKE 'n%WAY'", "Norway"),
        ("SELECT count(*) FROM w WHERE Nation LIKE 'ł%' OR Nation = 'łotwa'", 0),
        ("SELECT Nation FROM w WHERE Nation GLOB '?o*a'", "Łotwa"),
        ("SELECT Nation FROM w WHERE nation LIKE '_tal_'", "Italy"),
        ("SELECT typeof(Gold) || typeof(Prize) || typeof(Nation) FROM w LIMIT 1", "integerrealtext"),
        ("WITH few AS (SELECT * FROM w WHERE Gold < 10) SELECT count(*) FROM few", 2),
        ("SELECT Nation FROM w WHERE Gold = (SELECT max(Gold) FROM w);", "Norway"),
        ("SELECT Nation FROM w -- the last one\n WHERE row_id = 2", "Italy"),
    ],
)
async def test_values_compare_as_a_person_expects(query: str, value: Any) -> None:
    assert (await run_query(MEDALS, query)).rows == ((value,),)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2,500", "-3"], "integer"),
        (["1.5", "2"], "real"),
        (["€7", " 1 "], "real"),
        (["−4", "+4"], "integer"),
        (["007", "12"], "text"),
        (["1", "two"], "text"),
        (["1,23", "4"], "text"),
        (["1 420 436", "317\u00a0169", "12"], "integer"),
        (["1 42", "4"], "text"),
        (["12-13", "14"], "text"),
        (["1", 2, 3.5], "real"),
        ([True, False], "integer"),
        ([10**30, 1], "text"),
        ([["a"], {"b": 1}], "text"),
    ],
)
async def test_a_column_is_numeric_where_every_cell_is_a_number(cells: list[Any], kind: str) -> None:
    table = Table.of([{"x": cell} for cell in cells])
    assert set((await run_query(table, "SELECT typeof(x) FROM w")).rows) <= {(kind,), ("integer",)}
    assert (await run_query(table, "SELECT typeof(x) FROM w")).rows[0] == (kind,)


async def test_odd_names_and_cells_are_only_data() -> None:
    name = 'a"); DROP TABLE w; --'
    table = Table.of([{name: "x'); DROP TABLE w; --", "row_id": "mine", "half \ud800": "\ud800", "": "\0"}])
    selection = await run_query(table, "SELECT * FROM w")
    assert selection.columns == ("row_id", name, "row_id_2", "half", "column_4")
    assert selection.rows == ((0, "x'); DROP TABLE w; --", "mine", "?", "\0"),)


async def test_a_table_without_rows_can_be_asked() -> None:
    assert (await run_query(Table.of([["a", "b"]]), "SELECT a, count(*) FROM w")).rows == ((None, 0),)
    assert (await run_query(Table.of([]), "SELECT count(*) FROM w")).rows == ((0,),)


@pytest.mark.attack("sql")
@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM w",
        "INSERT INTO w VALUES (9, 'x', 1, 1, 1, 'x')",
        "UPDATE w SET Gold = 99 RETURNING Gold",
        "REPLACE INTO w (row_id) VALUES (0)",
        "DROP TABLE w",
        "ALTER TABLE w RENAME TO v",
        "CREATE TABLE v (a)",
        "CREATE TEMP TABLE v AS SELECT * FROM w",
        "CREATE VIEW v AS SELECT 1",
        "ATTACH '{folder}/made.db' AS made",
        "VACUUM INTO '{folder}/made.db'",
        "VACUUM",
        "PRAGMA table_info(w)",
        "PRAGMA temp_store_directory = '{folder}'",
        "SELECT * FROM pragma_database_list",
        "SELECT * FROM sqlite_master",
        "SELECT load_extension('{folder}/made.so')",
        "SELECT fts3_tokenizer('simple')",
        "SELECT writefile('{folder}/made.txt', 'x')",
        "SELECT readfile('{folder}/secret.txt')",
        "BEGIN",
        "SELECT 1; DELETE FROM w",
        "SELECT 1; SELECT 2",
        "",
        "-- nothing",
        "no query at all",
        "SELECT Silver FROM w",
        "SELECT * FROM v",
        "SELECT 1 \0",
        "SELECT '\ud800'",
        "SELECT CAST(x'ff' AS TEXT)",
        "SELECT " + "(" * 5000 + "1" + ")" * 5000,
        "SELECT " + "+".join("1" * 5000),
        "SELECT '" + "x" * 200_000 + "'",
        " UNION ALL ".join(["SELECT 1"] * 600),
    ],
)
async def test_a_query_that_is_no_reading_fails_in_one_line(query: str, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("swordfish")
    with pytest.raises(QueryFailed) as caught:
        await run_query(MEDALS, query.replace("{folder}", str(tmp_path)))
    assert str(caught.value) and "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["secret.txt"]
    assert (await run_query(MEDALS, "SELECT sum(Gold) FROM w")).rows == ((19,),)


@pytest.mark.attack("sql")
@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT zeroblob(1000000000)", "too big"),
        ("SELECT randomblob(1000000000)", "too big"),
        ("SELECT replace(hex(zeroblob(40000)), '0', hex(zeroblob(40000)))", "too big"),
        ("SELECT printf('%.*c', 1000000000, 'x')", "longer than 0.3 seconds"),
        (
            "SELECT printf('%.*c', 300000000, 'x') UNION SELECT printf('%.*c', 300000001, 'x')",
            "longer than 0.3 seconds",
        ),
        ("SELECT hex(zeroblob(49000)) LIKE '%'||substr(hex(zeroblob(49000)), 1, 49000)||'1%'", "pattern too complex"),
        (f"{ENDLESS}SELECT sum({LIKE}) FROM c", "longer than 0.3 seconds"),
        (f"{ENDLESS}SELECT sum({LIKE.replace('LIKE', 'GLOB').replace('%', '*')}) FROM c", "longer than 0.3 seconds"),
        (ENDLESS + "SELECT count(*) FROM c", "longer than 0.3 seconds"),
        (ENDLESS + "SELECT x FROM c ORDER BY x DESC", "longer than 0.3 seconds"),
        (ENDLESS + "SELECT group_concat(x) FROM c", "longer than 0.3 seconds"),
        (ENDLESS + "SELECT x FROM c", "more than 10,000 rows"),
        (ENDLESS + "SELECT hex(zeroblob(40000)) FROM c", "too much text"),
        ("SELECT count(*) FROM " + ", ".join(f"w AS w{number}" for number in range(40)), "longer than 0.3 seconds"),
    ],
)
async def test_a_query_is_bounded_in_time_and_size(query: str, message: str) -> None:
    async with asyncio.timeout(20):
        with pytest.raises(QueryFailed, match=message):
            await run_query(MEDALS, query, seconds=0.3)


@pytest.mark.attack("sql")
async def test_a_query_is_bounded_in_memory() -> None:
    with pytest.raises(QueryFailed, match="too much memory"):
        await run_query(MEDALS, f"{ENDLESS}SELECT hex(randomblob(40000)) AS h FROM c ORDER BY h", seconds=60)


@pytest.mark.attack("sql")
async def test_others_go_on_while_a_costly_function_is_computed() -> None:
    hostile = asyncio.create_task(run_query(MEDALS, "SELECT printf('%.*c', 1000000000, 'x')", seconds=0.5))
    turns = 0
    while not hostile.done():
        await asyncio.sleep(0.01)
        turns += 1
    with pytest.raises(QueryFailed, match=r"^the query took longer than 0.5 seconds$"):
        await hostile
    assert turns >= 5


@pytest.mark.attack("sql")
async def test_a_query_that_waits_for_others_keeps_its_time() -> None:
    hostile = [run_query(MEDALS, f"{ENDLESS}SELECT count(*) FROM c", seconds=0.3) for _ in range(8)]
    failed = await asyncio.gather(*hostile, run_query(MEDALS, "SELECT 1", seconds=0.3), return_exceptions=True)
    assert failed[-1] == Selection(("1",), ((1,),))


async def test_a_width_without_end_gives_no_text() -> None:
    assert (await run_query(MEDALS, "SELECT printf('%1000000000d', 1)")).rows == ((None,),)


async def test_a_pattern_is_not_tried_in_every_way() -> None:
    table = Table.of([{"text": "a" * 20_000}])
    async with asyncio.timeout(20):
        assert (await run_query(table, f"SELECT 1 FROM w WHERE text LIKE '{'%a' * 500}%b'")).rows == ()


@given(st.text("ab%_\n", max_size=6), st.text("abAB%_\n", max_size=8))
def test_like_is_the_pattern_it_says(pattern: str, text: str) -> None:
    meant = "".join({"%": ".*", "_": "."}.get(sign, sign) for sign in pattern)
    fits = re.fullmatch(meant, text, re.DOTALL | re.IGNORECASE) is not None
    query = f"SELECT '{text}' LIKE '{pattern}'"
    assert asyncio.run(run_query(MEDALS, query)).rows == ((int(fits),),)


async def test_like_knows_its_escape() -> None:
    assert (await run_query(MEDALS, "SELECT '5%' LIKE '5!%' ESCAPE '!', '50' LIKE '5!%' ESCAPE '!'")).rows == ((1, 0),)
    assert (await run_query(MEDALS, "SELECT NULL LIKE 'a'")).rows == ((None,),)


async def test_values_are_plain_data() -> None:
    assert (await run_query(MEDALS, "SELECT 1.5, NULL, 'x', 9e999, x'4142'")).rows == ((1.5, None, "x", None, "AB"),)


async def test_a_large_table_is_read_once_for_many_queries() -> None:
    rows = [
        {"name": f"name {number}", "amount": f"${number:,}.50", "city": "AB"[number % 2]} for number in range(100_000)
    ]
    table = Table.of(rows)
    queries = [run_query(table, f"SELECT count(*) FROM w WHERE city = 'a' AND amount > {more}") for more in range(5)]
    counts = [selection.rows[0][0] for selection in await asyncio.gather(*queries)]
    assert counts == [50_000 - (more + 1) // 2 for more in range(5)]
    assert table.database is table.database
