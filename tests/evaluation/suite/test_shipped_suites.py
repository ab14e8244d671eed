"""The shipped suites: their rows are whole and right, and each suite reads what it says."""

from __future__ import annotations

import ast
import csv
import json
import operator
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.metrics.base import MetricInput
from promptkit.evaluation.suite.binding import Binder, evaluate_of
from promptkit.evaluation.suite.data import BoundRow
from promptkit.evaluation.suite.reader import load_suite
from promptkit.evaluation.suite.suite import Measure, Suite, answer_type
from promptkit.project import LIBRARY, Project

Row = Mapping[str, Any]
DATA = LIBRARY / "evals" / "data"
CATEGORIES = {"service reliability", "pricing concerns", "customer support quality", "others"}
FIELDS = {
    "arithmetic": {"question", "expect", "working", "kind"},
    "assistant": {"question", "answer", "tools", "working", "kind"},
    "complaints": {"feedback", "issues", "categories", "kind"},
    "extraction": {"text", "expect", "kind"},
    "reviews": {"text", "label", "kind", "split"},
    "summaries": {"text", "summary", "facts", "kind"},
    "table_questions": {"table_name", "table", "question", "expect", "sql", "kind"},
}
TEXTS = ("text", "question", "feedback", "sentence", "issue", "object")
SUITES = {
    "arithmetic": "arithmetic",
    "assistant": "assistant",
    "extraction": "extraction",
    "feedback": "complaints",
    "sentiment": "reviews",
    "summary": "summaries",
    "table_questions": "table_questions",
}


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), f"a key stands twice: {pairs}"
    return dict(pairs)


def rows_of(name: str) -> list[Row]:
    text = (DATA / f"{name}.jsonl").read_text(encoding="utf-8")
    assert text.endswith("}\n")
    return [json.loads(line, parse_constant=refuse, object_pairs_hook=no_key_twice) for line in text.splitlines()]


def plain(text: str) -> str:
    """Return what two texts share that are the same but for case, signs and blanks."""
    return " ".join(re.findall(r"\w+", text.casefold())) or text.strip()


def main_text(row: Row) -> str:
    asked = next(str(row[field]) for field in TEXTS if field in row)
    return plain(f"{row.get('table_name', '')} {asked} {row.get('classes', '')}")


def load(name: str) -> Suite:
    return load_suite(LIBRARY / "evals" / f"{name}.yaml", Project.find(LIBRARY))


@pytest.mark.parametrize("name", FIELDS)
def test_each_row_is_strict_json_with_all_fields_and_none_is_blank(name: str) -> None:
    for row in rows_of(name):
        assert set(row) == FIELDS[name]
        for field, value in row.items():
            assert value == value.strip() != "" if isinstance(value, str) else value is not None, (field, row)


@pytest.mark.parametrize(("name", "least"), [(name, 200 if name == "reviews" else 60) for name in FIELDS])
def test_a_suite_has_rows_enough(name: str, least: int) -> None:
    assert len(rows_of(name)) >= least


@pytest.mark.parametrize("name", FIELDS)
def test_the_kinds_of_rows_are_several_and_none_is_most_of_them(name: str) -> None:
    kinds = Counter(row["kind"] for row in rows_of(name))
    assert len(kinds) >= 10
    assert max(kinds.values()) <= kinds.total() / 4
    assert {"injection", "typo"} <= set(kinds)
    assert all(re.fullmatch("[a-z ]+", kind) for kind in kinds)


def test_no_text_stands_twice_in_any_data() -> None:
    seen: dict[str, str] = {}
    for path in sorted(DATA.glob("*.jsonl")):
        for row in rows_of(path.stem):
            text = main_text(row)
            assert text not in seen, f"{path.name} and {seen[text]}: {text}"
            seen[text] = path.name


def test_no_row_is_an_example_of_a_prompt() -> None:
    prompts = plain(
        "\n".join(path.read_text(encoding="utf-8") for path in (LIBRARY / "templates/prompts").glob("*.j2"))
    )
    for name in FIELDS:
        assert [row for row in rows_of(name) if len(main_text(row)) > 20 and main_text(row) in prompts] == []


def test_sentiment_is_balanced_over_all_kinds_and_both_splits() -> None:
    rows = rows_of("reviews")
    for field in ("kind", "split"):
        for value in {row[field] for row in rows}:
            labels = Counter(row["label"] for row in rows if row[field] == value)
            assert set(labels) == {"positive", "negative"}
            assert labels["positive"] == labels["negative"], value
    assert {row["split"] for row in rows} == {"tune", "test"}


OPERATORS: Mapping[type[ast.AST], Callable[..., Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: lambda a, b: Fraction(a // b),
    ast.USub: operator.neg,
}


def exactly(text: str) -> Fraction:
    """Return what a sum of decimal numbers comes to, without rounding."""

    def value(node: ast.AST) -> Fraction:
        match node:
            case ast.Expression(body):
                return value(body)
            case ast.BinOp(left, op, right):
                return OPERATORS[type(op)](value(left), value(right))
            case ast.UnaryOp(op, operand):
                return OPERATORS[type(op)](value(operand))
            case ast.Constant(int() | float() as number):
                return Fraction(str(number))
        raise AssertionError(f"no arithmetic: {ast.dump(node)}")

    return value(ast.parse(text, mode="eval"))


def test_the_working_of_a_word_problem_comes_to_what_is_expected() -> None:
    for row in rows_of("arithmetic"):
        assert exactly(row["working"]) == Fraction(str(row["expect"])), row
        assert Fraction(str(row["expect"])) * 100 == int(Fraction(str(row["expect"])) * 100), "two decimals do"


def test_the_working_of_a_question_to_the_assistant_comes_to_its_answer() -> None:
    shop = LIBRARY / "pipelines" / "assistant"
    with (shop / "orders.csv").open(encoding="utf-8", newline="") as file:
        orders = list(csv.DictReader(file))
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE orders (number INT, day, customer, city, product, quantity INT, price REAL, status)")
    database.executemany(
        "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [tuple(order.values()) for order in orders]
    )
    for row in rows_of("assistant"):
        working = row["working"]
        if working.endswith(".md"):
            assert row["answer"] in (shop / "handbook" / working).read_text(encoding="utf-8"), row
        elif working.startswith("SELECT"):
            [(found,)] = database.execute(working).fetchall()
            assert (f"{found:g}" if isinstance(found, float) else str(found)) == row["answer"], row
        else:
            assert exactly(working) == Fraction(row["answer"]), row
        assert set(row["tools"]) <= {"calculator", "handbook", "orders"} and row["tools"]
    database.close()


def test_the_query_of_a_table_question_gives_what_is_expected() -> None:
    for row in rows_of("table_questions"):
        columns = list(row["table"][0])
        database = sqlite3.connect(":memory:")
        database.execute(f"CREATE TABLE w ({', '.join(json.dumps(column) for column in columns)})")
        places = ", ".join("?" * len(columns))
        database.executemany(f"INSERT INTO w VALUES ({places})", [tuple(cells.values()) for cells in row["table"]])
        found = [cell for [cell] in database.execute(row["sql"])]
        database.close()
        assert [f"{cell:g}" if isinstance(cell, float) else str(cell) for cell in found] == row["expect"], row


def test_a_table_is_the_same_in_all_its_rows_and_has_a_cell_in_each_place() -> None:
    rows = rows_of("table_questions")
    tables: dict[str, Any] = {}
    for row in rows:
        assert tables.setdefault(row["table_name"], row["table"]) == row["table"]
        assert all(list(cells) == list(row["table"][0]) for cells in row["table"])
        assert len(row["expect"]) <= 12
        assert not any(";" in value for value in row["expect"])
    assert len(tables) >= 12


def test_a_record_is_in_the_words_of_its_order() -> None:
    for row in rows_of("extraction"):
        record = row["expect"]
        assert list(record) == ["customer", "product", "quantity", "due"]
        assert all(record[field] in row["text"] for field in ("customer", "product", "due")), row
        assert isinstance(record["quantity"], int)
        assert record["quantity"] > 0


def test_quantities_in_digits_stand_in_the_order() -> None:
    for row in rows_of("extraction"):
        if row["kind"] in ("distractor", "injection", "people", "language", "long"):
            digits = {int(each) for each in re.findall(r"\d+", row["text"])}
            assert row["expect"]["quantity"] in digits, row


def test_each_issue_of_a_message_has_a_category() -> None:
    for row in rows_of("complaints"):
        assert len(row["issues"]) == len(row["categories"]) <= 4
        assert set(row["categories"]) <= CATEGORIES
        assert len({plain(issue) for issue in row["issues"]}) == len(row["issues"])
        assert not any(";" in issue for issue in row["issues"])
    counts = Counter(category for row in rows_of("complaints") for category in row["categories"])
    assert min(counts[category] for category in CATEGORIES) >= 15


def test_a_text_has_sixty_to_two_hundred_words_and_a_summary_that_names_its_facts() -> None:
    for row in rows_of("summaries"):
        assert 60 <= len(row["text"].split()) <= 200
        assert 10 <= len(row["summary"].split()) <= 40
        assert row["facts"]
        for fact in row["facts"]:
            assert fact.casefold() in row["text"].casefold(), row
            assert fact.casefold() in row["summary"].casefold(), row


def all_suites(suite: Suite) -> tuple[Suite, ...]:
    return (suite, *suite.steps)


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_reads_its_own_data_and_a_target_of_the_library(name: str) -> None:
    suite = load(name)
    assert suite.name == name
    assert suite.about
    assert suite.data.file == DATA / f"{SUITES[name]}.jsonl"
    for each in all_suites(suite):
        counted = each.data.count()
        assert (counted.rows, counted.wrong) == (len(rows_of(SUITES[name])), 0)


@pytest.mark.parametrize("name", SUITES)
def test_each_row_has_what_the_target_takes_and_what_the_metrics_expect(name: str) -> None:
    for suite in all_suites(load(name)):
        binder = Binder(suite)
        for index, row in enumerate(suite.data.rows()):
            assert binder.bind(row, index).problems == ()


def as_the_data_has_it(suite: Suite, row: Row) -> Any:
    """Return what a faultless model would answer."""
    match suite.name:
        case "assistant":
            return f"It is {row['answer']}."
        case "sentiment":
            return row["label"]
        case "summary":
            return row["summary"]
        case "feedback":
            issues = dict(zip(row["issues"], row["categories"], strict=True))
            return {"issues": issues, "recommendations": dict.fromkeys(row["categories"], "Repair it.")}
        case "feedback.issues":
            return row["issues"]
        case "feedback.categories":
            return row["categories"]
        case "feedback.recommendations":
            return ["Repair it." for _ in set(row["categories"])]
    return row["expect"]


async def score(suite: Suite, measure: Measure, bound: BoundRow, expected: Any, output: Any) -> float | None:
    fields = bound.row.fields
    called = [{"name": name, "arguments": {}, "result": None, "failure": None} for name in fields.get("tools", ())]
    cell = Cell(
        variant="",
        row=bound.row.number,
        repeat=0,
        fields=fields,
        output=output,
        read_trace=lambda: {"tool_calls": called},
    )
    got = output if measure.of is None else evaluate_of(measure.of, cell)
    given = MetricInput(got, expected, cell, answer_type(suite.baseline.pipeline))
    metric = measure.metric
    found = await metric.measure_async(given, None) if metric.asks else metric.measure(given)  # type: ignore[arg-type]
    return found.value


@pytest.mark.parametrize("name", SUITES)
async def test_what_the_data_expects_has_the_full_score_of_every_metric(name: str) -> None:
    for suite in all_suites(load(name)):
        binder = Binder(suite)
        measured = [each for each in suite.measures if each.metric.bounds is not None]
        assert measured
        for index, row in enumerate(suite.data.rows()):
            bound = binder.bind(row, index)
            for measure, expected in zip(suite.measures, bound.expected, strict=True):
                if measure in measured:
                    value = await score(suite, measure, bound, expected, as_the_data_has_it(suite, row.fields))
                    best = measure.metric.bounds[1] if measure.metric.bounds else None
                    assert value == pytest.approx(best), (suite.name, measure.name, row.fields)


def test_names_of_a_suite_and_its_target_may_be_the_same(tmp_path: Path) -> None:
    (tmp_path / "promptkit.yaml").touch()
    for folder in ("evals", "pipelines"):
        (tmp_path / folder).mkdir()
    (tmp_path / "pipelines" / "mood.yaml").write_text(
        "steps:\n  mood: {prompt: 'Judge {{ text }}'}\ninputs: {text: {}}\n"
    )
    suite = tmp_path / "evals" / "mood.yaml"
    suite.write_text("data: [{text: fine, expect: good}]\ntarget: mood\nmetrics: {right: exact}\n")
    assert list(load_suite(suite, Project.find(tmp_path)).baseline.pipeline.steps) == ["mood"]
