"""Which rows a suite uses: streamed, selected, split by what they hold, sampled by a seed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.errors import InputError, Problem
from promptkit.evaluation.cells.keys import cell_key
from promptkit.evaluation.suite.data import Data, DataSpec, RowsHash, row_key
from tests.engine.helpers import Folder
from tests.evaluation.suites import SUITE, Bench, rows_text

WHERE = Problem("", "suite.yaml", 2, 1)


def data(spec: DataSpec, file: Path | None = None) -> Data:
    return Data(spec=spec, file=file, function=None, where=WHERE)


def inline(rows: list[dict[str, object]], **how: object) -> Data:
    return data(DataSpec.model_validate({"rows": rows, **how}))


def numbers(of: Data) -> list[int]:
    return [row.number for row in of.rows()]


def numbered(count: int) -> list[dict[str, object]]:
    return [{"n": number, "split": "train" if number % 3 else "test"} for number in range(count)]


def test_a_sample_is_the_same_for_a_seed_another_for_another_and_in_the_datas_order() -> None:
    first, again, other = (numbers(inline(numbered(200), sample=20, seed=seed)) for seed in (1, 1, 2))

    assert first == again == sorted(first)
    assert len(set(first)) == 20
    assert other != first


def test_each_row_is_as_likely_in_a_sample_as_any_other() -> None:
    drawn = Counter(number for seed in range(1500) for number in numbers(inline(numbered(12), sample=4, seed=seed)))

    assert all(abs(drawn[number] - 500) < 100 for number in range(1, 13))


def test_a_sample_larger_than_the_data_is_all_of_it() -> None:
    assert numbers(inline(numbered(5), sample=50)) == [1, 2, 3, 4, 5]


def test_a_named_split_is_the_rows_that_say_so() -> None:
    assert numbers(inline(numbered(7), split="test")) == [1, 4, 7]


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(0, 5))
def test_a_share_and_its_rest_are_all_rows_and_equal_rows_are_on_one_side(values: list[int], salt: int) -> None:
    rows: list[dict[str, object]] = [{"n": value} for value in values]
    part = list(inline(rows, split={"share": 0.4, "salt": salt}).rows())
    rest = list(inline(rows, split={"share": 0.4, "salt": salt, "rest": True}).rows())

    assert sorted(row.number for row in [*part, *rest]) == list(range(1, len(rows) + 1))
    assert not {row.fields["n"] for row in part} & {row.fields["n"] for row in rest}


def test_added_rows_move_no_old_row_across_the_split() -> None:
    few = {row.fields["n"] for row in inline(numbered(50), split={"share": 0.5}).rows()}
    many = {row.fields["n"] for row in inline(numbered(90), split={"share": 0.5}).rows()}

    assert few <= many


def test_a_cluster_is_never_cut_in_two() -> None:
    rows: list[dict[str, object]] = [{"n": number, "document": number % 7} for number in range(70)]
    part = list(inline(rows, split={"share": 0.5}, cluster="document").rows())
    rest = list(inline(rows, split={"share": 0.5, "rest": True}, cluster="document").rows())

    assert part and rest
    assert not {row.fields["document"] for row in part} & {row.fields["document"] for row in rest}


def test_a_broken_line_is_told_with_its_file_and_line_and_the_rows_after_it_are_read(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"a": 1}\n{"a": \n\n{"a": NaN}\n[1]\n{"a": 2}\n', encoding="utf-8")

    found = list(data(DataSpec(file="rows.jsonl"), file).rows())

    assert [row.number for row in found] == [1, 2, 3, 4, 5]
    assert [row.problem.line for row in found if row.problem] == [2, 4, 5]
    assert found[-1].fields == {"a": 2} and found[-1].place.line == 6


def test_a_file_in_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes("text,expect\nschön,gut\n".encode("latin-1"))

    with pytest.raises(InputError, match="UTF-8") as raised:
        data(DataSpec(file="rows.csv"), file).count()
    assert raised.value.problems[0].line == 2


def test_no_rows_at_all_is_told_at_the_suites_data(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n", encoding="utf-8")

    with pytest.raises(InputError, match=r"rows\.jsonl has no rows") as raised:
        data(DataSpec(file="rows.jsonl"), file).count()
    assert (raised.value.problems[0].file, raised.value.problems[0].line) == ("suite.yaml", 2)


def test_a_split_or_filter_that_leaves_nothing_says_which() -> None:
    with pytest.raises(InputError, match="`split: dev`"):
        inline(numbered(5), split="dev").count()


def test_where_every_row_is_wrong_the_run_does_not_begin(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("a\nb\n", encoding="utf-8")

    with pytest.raises(InputError) as raised:
        data(DataSpec(file="rows.jsonl"), file).count()
    assert len(raised.value.problems) == 2


def test_a_function_gives_rows_and_what_it_raises_is_told(folder: Folder) -> None:
    bench = Bench(folder)
    folder.write(
        "evals/rows.py",
        """
        def rows():
            for number in range(3):
                yield {"text": f"good {number}", "expect": "good"}

        def broken():
            yield {"text": "good", "expect": "good"}
            raise OSError("no disk")
        """,
    )

    suite = bench.suite(SUITE.replace("rows.jsonl", "{python: 'rows.py:rows'}"))
    assert [row.fields["text"] for row in suite.data.rows()] == ["good 0", "good 1", "good 2"]

    broken = bench.suite(SUITE.replace("rows.jsonl", "{python: 'rows.py:broken'}"))
    with pytest.raises(InputError, match=r"rows\.py:broken.*no disk"):
        broken.data.count()


def test_the_filter_of_the_command_line_takes_rows_with_these_fields_and_the_limit_the_first_of_them(
    folder: Folder,
) -> None:
    bench = Bench(folder, [{"text": f"good {n}", "expect": "good", "kind": n % 2} for n in range(10)])

    suite = bench.suite(only=[("kind", "1")], limit=2)

    assert [row.number for row in suite.data.rows()] == [2, 4]


def test_the_hash_of_the_data_is_of_the_rows_that_are_used(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(rows_text(numbered(4)), encoding="utf-8")
    before = data(DataSpec(file="rows.jsonl", split="test"), file).count().hash
    file.write_text(rows_text([*numbered(4), {"n": 9, "split": "train"}]), encoding="utf-8")
    same = data(DataSpec(file="rows.jsonl", split="test"), file).count().hash
    file.write_text(rows_text([*numbered(4), {"n": 9, "split": "test"}]), encoding="utf-8")
    other = data(DataSpec(file="rows.jsonl", split="test"), file).count().hash

    assert before == same != other
    assert json.dumps(before)


@given(st.lists(st.dictionaries(st.text(max_size=3), st.integers(0, 3), max_size=3), max_size=5), st.data())
def test_the_hash_of_rows_is_of_what_they_hold_and_of_their_order(
    rows: list[dict[str, int]], drawn: st.DataObject
) -> None:
    other = drawn.draw(st.permutations(rows))

    def hashed(rows: list[dict[str, int]]) -> tuple[int, str]:
        digest = RowsHash()
        for row in rows:
            digest.add(row_key(row))
        return digest.rows, digest.hexdigest()

    assert (hashed(other) == hashed(rows)) is (other == rows)
    assert hashed([dict(reversed(row.items())) for row in rows]) == hashed(rows)
    assert hashed([*rows, {}]) != hashed(rows)


def test_the_hash_of_what_was_counted_is_that_of_the_rows_as_they_come(folder: Folder) -> None:
    data = Bench(folder).suite().data
    digest = RowsHash()
    for row in data.rows():
        digest.add(row_key(row.fields))

    counted = data.count()

    assert (counted.rows, counted.hash) == (digest.rows, digest.hexdigest())


def test_rows_that_changed_are_told_at_the_suites_data_and_a_function_to_seed_what_it_draws(folder: Folder) -> None:
    bench = Bench(folder)
    folder.write("evals/rows.py", "def rows():\n    return []\n")

    file = bench.suite().data.changed()
    function = bench.suite(SUITE.replace("rows.jsonl", "{python: 'rows.py:rows'}")).data.changed()

    assert (file.line, "rows.jsonl changed" in file.message, file.hint) == (1, True, None)
    assert function.hint is not None and "seed" in function.hint


def test_the_keys_of_rows_and_cells_are_those_of_the_stores_that_are_there() -> None:
    fields = {"b": 1e-7, "a": "ü\ud83d", "c": [1.5, None, True]}

    assert row_key(fields).hex() == "ca18c181b4be17686ea882773792566e"
    assert (
        cell_key(b"v", {"x": 1e-5, "y": {"z": float("nan")}, "s": {1}}, "0").hex() == "18a3e81c3c0370355fcac3338928ea08"
    )


def test_the_share_of_a_split_is_that_of_the_suites_that_are_there() -> None:
    rows = [{"text": str(number)} for number in range(20)]
    spec = DataSpec.model_validate({"rows": rows, "split": {"share": 0.4, "salt": 3}})

    data = Data(spec=spec, file=None, function=None, where=Problem(""))

    assert [row.number for row in data.rows()] == [1, 2, 6, 9, 11, 12, 14, 18, 19]
