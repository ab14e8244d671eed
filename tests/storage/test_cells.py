"""Cells are found by key, claimed once, and stand in their runs in order; their traces come back exactly."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from promptkit.errors import StoreFailed
from promptkit.storage import database
from promptkit.storage.cells import CellRecord, Cells, RunCell, TraceModel, pack_trace, unpack_trace
from promptkit.storage.store import Store

PROMPT = "You are a support analyst at a telecom operator. Say how the customer feels about the service. " * 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as store:
        yield store


def key(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def new(name: str, *, row: int = 1, outcome: str | None = None, trace: bytes | None = None) -> CellRecord:
    return CellRecord(
        variant="short",
        row=row,
        repeat=0,
        key=key(name),
        row_key=key(f"row {row}"),
        fields=f'{{"row":{row}}}',
        scores="{}",
        outcome=f'"{name}"' if outcome is None else outcome,
        trace=trace,
    )


def known(cell: CellRecord, number: int) -> CellRecord:
    return replace(cell, outcome=None, trace=None, number=number)


def begin(store: Store) -> int:
    return store.begin_run("eval", "sentiment", model={})


def save(store: Store, run: int, *placed: CellRecord) -> list[int]:
    return asyncio.run(store.cells.save(run, placed))


def test_a_cell_is_found_under_its_key_only(store: Store) -> None:
    numbers = save(store, begin(store), new("a"), new("b", row=2))
    found = store.cells.find([key("b"), key("a"), key("c")])
    assert {name: (cell.number, cell.outcome) for name, cell in found.items()} == {
        key("a"): (numbers[0], '"a"'),
        key("b"): (numbers[1], '"b"'),
    }


def test_the_newest_cell_of_a_key_is_found_and_the_old_one_stays_in_its_run(store: Store) -> None:
    first, second = begin(store), begin(store)
    save(store, first, new("a", outcome='"old"', trace=b"old"))
    (number,) = save(store, second, new("a", outcome='"new"'))
    assert store.cells.find([key("a")])[key("a")].number == number
    (old,) = store.cells.of_run(first)
    assert (old.outcome, store.cells.trace(old.number)) == ('"old"', b"old")


def test_a_failed_cell_is_left_out_where_errors_are_not_wanted(store: Store) -> None:
    run = begin(store)
    save(store, run, replace(new("a"), failed=True), new("b", row=2, outcome='"good"'))
    save(store, run, replace(new("b", row=2, outcome='"bad"'), failed=True))
    assert store.cells.find([key("a"), key("b")])[key("b")].outcome == '"bad"'
    assert {name: cell.outcome for name, cell in store.cells.find([key("a"), key("b")], errors=False).items()} == {
        key("b"): '"good"'
    }


def test_more_keys_than_one_query_takes_are_found_and_claimed(store: Store) -> None:
    cells = [new(str(number), row=number) for number in range(1200)]
    keys = [cell.key for cell in cells]
    assert store.cells.claim(keys) == set(keys)
    numbers = save(store, begin(store), *cells)
    assert len(set(numbers)) == 1200
    assert {name: cell.number for name, cell in store.cells.find(keys).items()} == dict(zip(keys, numbers, strict=True))
    assert store.cells.claim(keys) == set()


def test_nothing_is_found_saved_and_claimed_for_no_keys(store: Store) -> None:
    run = begin(store)
    assert (store.cells.find([]), store.cells.claim([]), save(store, run)) == ({}, set(), [])
    assert list(store.cells.of_run(run)) == []


def test_a_cell_that_is_kept_has_a_place_in_each_run_that_uses_it(store: Store) -> None:
    first, second = begin(store), begin(store)
    cell = new("a", trace=b"{}")
    (number,) = save(store, first, cell)
    again = replace(known(cell, number), variant="other", row=7, repeat=2, scores='{"accuracy":[1.0,{},""]}')
    assert save(store, second, again) == [number]
    assert list(store.cells.of_run(second)) == [
        RunCell("other", 7, 2, number, '"a"', '{"accuracy":[1.0,{},""]}', '{"row":1}')
    ]
    assert len(list(store.cells.of_run(first))) == 1


def test_a_cell_saved_again_in_its_place_replaces_what_was_there(store: Store) -> None:
    run = begin(store)
    save(store, run, replace(new("a", outcome='"error"'), failed=True))
    (number,) = save(store, run, new("a", outcome='"good"'))
    assert [(cell.number, cell.outcome) for cell in store.cells.of_run(run)] == [(number, '"good"')]


def test_a_run_is_read_by_row_then_variant_then_repeat(store: Store) -> None:
    run = begin(store)
    store.cells.name_variants(run, ["short", "long"])
    places = [
        (variant, row, repeat) for variant in ("long", "late", "short") for row in (2, 1, 10) for repeat in (1, 0)
    ]
    for variant, row, repeat in places:
        save(store, run, replace(new(f"{variant} {row} {repeat}", row=row), variant=variant, repeat=repeat))
    order = ["short", "long", "late"]
    expected = sorted(places, key=lambda place: (place[1], order.index(place[0]), place[2]))
    assert [cell[:3] for cell in store.cells.of_run(run)] == expected
    assert [cell[:3] for cell in store.cells.of_run(run, variant="long")] == [
        place for place in expected if place[0] == "long"
    ]
    assert list(store.cells.of_run(run, variant="missing")) == []


def test_the_order_of_variants_is_that_of_their_first_cells_where_nobody_named_them(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        run = begin(store)
        save(store, run, replace(new("b"), variant="b"))
    with Store.open(tmp_path) as store:
        save(store, run, replace(new("a"), variant="a"))
        save(store, run, replace(new("b", row=2), variant="b"), replace(new("a", row=2), variant="a"))
        assert [(cell.row, cell.variant) for cell in store.cells.of_run(run)] == [
            (1, "b"),
            (1, "a"),
            (2, "b"),
            (2, "a"),
        ]


def test_a_long_run_is_read_in_pages_while_others_write(store: Store) -> None:
    run = begin(store)
    cells = [replace(new(f"{row} {repeat}", row=row), repeat=repeat) for row in range(1, 601) for repeat in range(2)]
    save(store, run, *cells)
    read = store.cells.of_run(run)
    seen = [next(read)]
    save(store, run, new("after", row=601))
    seen += read
    assert [(cell.row, cell.repeat) for cell in seen] == [(cell.row, cell.repeat) for cell in cells] + [(601, 0)]


ODD = ['"\ud800"', '"\0"', '"é\r\n\x1b[31m\u202e"', "", '"' + "x" * 1_000_000 + '"']


@pytest.mark.parametrize("text", ODD, ids=["half a pair", "NUL", "control characters", "empty", "1 MB"])
def test_texts_come_back_exactly(store: Store, text: str) -> None:
    run = begin(store)
    save(store, run, replace(new("a", outcome=text), fields=text, scores=text))
    (cell,) = store.cells.of_run(run)
    assert (cell.outcome, cell.fields, cell.scores) == (text, text, text)
    assert store.cells.find([key("a")])[key("a")].outcome == text


def test_the_fields_of_a_row_are_kept_once(store: Store, tmp_path: Path) -> None:
    run = begin(store)
    save(store, run, *(replace(new(str(repeat)), repeat=repeat) for repeat in range(5)))
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        assert connection.execute("select count(*) from data_rows").fetchone() == (1,)


def test_what_two_tasks_save_at_once_is_all_there(store: Store) -> None:
    run = begin(store)

    async def all_at_once() -> None:
        await asyncio.gather(
            *(
                store.cells.save(run, [replace(new(f"{row}", row=row, trace=b"%d" % row), variant=f"v{row % 3}")])
                for row in range(1, 200)
            )
        )

    asyncio.run(all_at_once())
    cells = list(store.cells.of_run(run))
    assert [cell.row for cell in cells] == list(range(1, 200))
    assert all(store.cells.trace(cell.number) == b"%d" % cell.row for cell in cells)
    assert all(cell.variant == f"v{cell.row % 3}" for cell in cells)


def test_a_cell_is_saved_although_nobody_waits_any_more(store: Store) -> None:
    run = begin(store)

    async def cancelled() -> None:
        task = asyncio.create_task(store.cells.save(run, [new("a")]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    save(store, run, new("b", row=2))
    assert [cell.outcome for cell in store.cells.of_run(run)] == ['"a"', '"b"']


# Traces


def trace_of(number: int) -> bytes:
    return f'{{"name":"mood","messages":[{{"content":"{PROMPT} {number}"}}],"seconds":0.{number}}}'.encode()


def test_traces_come_back_exactly_also_after_opening_again(tmp_path: Path) -> None:
    traces = [trace_of(number) for number in range(50)] + [os.urandom(3000), b"", trace_of(51)]
    with Store.open(tmp_path) as store:
        run = begin(store)
        numbers = save(store, run, *(new(str(row), row=row, trace=trace) for row, trace in enumerate(traces[:25])))
        numbers += save(
            store, run, *(new(str(row), row=row, trace=trace) for row, trace in enumerate(traces[25:], start=25))
        )
    with Store.open(tmp_path) as store:
        assert [store.cells.trace(number) for number in numbers] == traces
        numbers += save(store, run, new("x", row=99, trace=traces[3]), new("y", row=100))
        assert store.cells.trace(numbers[-2]) == traces[3]
        assert store.cells.trace(numbers[-1]) is None
        assert store.cells.trace(numbers[-1] + 1) is None


def test_traces_of_one_prompt_take_a_fraction_of_their_size(store: Store, tmp_path: Path) -> None:
    traces = [trace_of(number) for number in range(100)]
    save(store, begin(store), *(new(str(row), row=row, trace=trace) for row, trace in enumerate(traces)))
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        (size,) = connection.execute("select sum(length(trace)) from traces").fetchone()
    assert size < sum(map(len, traces)) / 10


@pytest.mark.attack("store")
@pytest.mark.parametrize(
    "damage",
    [
        "set trace = x'78' where cell = 1",
        "set trace = substr(trace, 1, 20) where cell = 2",
        "set like = 9 where cell = 2",
    ],
    ids=["another model", "cut off", "no model"],
)
def test_a_damaged_trace_is_said_to_be_one(store: Store, tmp_path: Path, damage: str) -> None:
    assert save(store, begin(store), *(new(str(row), row=row, trace=trace_of(row)) for row in range(2))) == [1, 2]
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        connection.execute(f"update traces {damage}")
        connection.commit()
    with pytest.raises(StoreFailed, match="traces 2: ") as caught:
        store.cells.trace(2)
    assert caught.value.hint == "promptkit runs repair"
    assert store.cells.trace_record(2) is None
    assert "traces 2: " in store.damage.notice


SHARED = st.sampled_from([b"", b"x", PROMPT.encode(), PROMPT.encode() * 40])


@given(st.lists(st.tuples(SHARED, st.binary(max_size=50)).map(b"".join), min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_whatever_a_trace_holds_it_is_unpacked_as_it_was(traces: list[bytes]) -> None:
    model: TraceModel | None = None
    kept = []
    for cell, trace in enumerate(traces):
        packed, model = pack_trace(cell, trace, model)
        kept.append(packed)
    for packed, trace in zip(kept, traces, strict=True):
        whole = packed.trace if packed.like is None else unpack_trace(packed.trace, kept[packed.like].trace)
        assert whole == trace
        assert len(packed.trace) <= len(trace)


# Scores


def test_scores_are_kept_by_cell_and_metric(store: Store) -> None:
    asyncio.run(store.cells.keep_scores("judge:a", {1: "[0.5]", 2: "[null]"}))
    asyncio.run(store.cells.keep_scores("judge:b", {1: "[1]"}))
    asyncio.run(store.cells.keep_scores("judge:a", {2: "[0.25]"}))
    assert store.cells.kept_scores([1, 2, 3], "judge:a") == {1: "[0.5]", 2: "[0.25]"}
    assert store.cells.kept_scores([1, 2, 3], "judge:b") == {1: "[1]"}
    assert store.cells.kept_scores([1, 2, 3], "judge:c") == {}


# Claims


@pytest.fixture
def other(store: Store, tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as other:
        yield other


def test_what_one_has_claimed_the_other_does_not_get(store: Store, other: Store) -> None:
    assert store.cells.claim([key("a"), key("b")]) == {key("a"), key("b")}
    assert other.cells.claim([key("b"), key("c")]) == {key("c")}
    assert store.cells.claim([key("a"), key("c")]) == {key("a")}


def test_what_is_kept_is_claimed_by_nobody(store: Store, other: Store) -> None:
    save(store, begin(store), new("a"), replace(new("b"), failed=True))
    assert other.cells.claim([key("a"), key("b")]) == set()
    assert other.cells.claim([key("a"), key("b")], errors=False) == {key("b")}


def test_a_saved_cell_is_no_longer_claimed(store: Store, other: Store) -> None:
    store.cells.claim([key("a")])
    save(store, begin(store), replace(new("a"), failed=True))
    assert other.cells.claim([key("a")], errors=False) == {key("a")}


def test_saving_leaves_the_claim_of_another(store: Store, other: Store) -> None:
    store.cells.claim([key("a")])
    save(other, begin(other), replace(new("a"), failed=True))
    assert other.cells.claim([key("a")], errors=False) == set()


def test_claims_end_on_release_and_on_close(store: Store, tmp_path: Path) -> None:
    with Store.open(tmp_path) as other:
        other.cells.claim([key("a"), key("b")])
        other.cells.release([key("a")])
        assert store.cells.claim([key("a"), key("b")]) == {key("a")}
    assert store.cells.claim([key("b")]) == {key("b")}


def test_nobody_releases_what_another_claimed(store: Store, other: Store) -> None:
    store.cells.claim([key("a")])
    other.cells.release([key("a")])
    assert other.cells.claim([key("a")]) == set()


def at(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(database, "_now", lambda: 1e9 + seconds)


def test_claims_of_one_who_is_silent_are_free_and_a_sign_keeps_them(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, 0)
    store.cells.claim([key("a")])
    at(monkeypatch, 100)
    store.cells.refresh()
    at(monkeypatch, 219)
    assert other.cells.claim([key("a")]) == set()
    at(monkeypatch, 221)
    assert other.cells.claim([key("a")]) == {key("a")}
    store.cells.refresh()
    assert store.cells.claim([key("a")]) == set()


def test_a_clock_set_back_keeps_no_claim_for_ever(store: Store, other: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, 10_000)
    store.cells.claim([key("a")])
    at(monkeypatch, 0)
    assert other.cells.claim([key("a")]) == {key("a")}


@pytest.mark.parametrize(
    ("change", "free"),
    [
        ("host = 'elsewhere'", False),
        ("host = 'elsewhere', pid = 0x7ffffff0", False),
        ("host = 'elsewhere', seen = seen - 121", True),
        ("pid = 0x7ffffff0", True),
    ],
    ids=["another host", "a pid of another host", "another host, silent", "a pid that is gone"],
)
def test_only_this_hosts_pids_tell_who_is_dead(store: Store, tmp_path: Path, change: str, free: bool) -> None:
    with Store.open(tmp_path) as other:
        other.cells.claim([key("a")])
        with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
            connection.execute(f"update owners set {change}")
            connection.commit()
        assert store.cells.claim([key("a")]) == ({key("a")} if free else set())


def test_a_process_before_us_that_had_our_pid_is_dead(store: Store, tmp_path: Path) -> None:
    with Store.open(tmp_path) as other:
        other.cells.claim([key("a")])
        with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
            connection.execute("update owners set number = number + 1")
            connection.execute("update claims set owner = owner + 1")
            connection.commit()
        assert store.cells.claim([key("a")]) == {key("a")}


# Runs


def test_a_running_run_shows_what_it_gave_so_far(store: Store) -> None:
    run = begin(store)
    store.update_run(run, {"rows": 3})
    found = store.run("last")
    assert found is not None
    assert (found.status, found.record, found.ended) == ("running", {"rows": 3}, None)


def test_only_the_runs_of_the_dead_are_closed(store: Store, tmp_path: Path) -> None:
    mine = begin(store)
    with Store.open(tmp_path) as other:
        theirs, ended = begin(other), begin(other)
        other.end_run(ended, "done", {})
        other.update_run(theirs, {"rows": 3})
        assert store.close_dead_runs() == []
    assert store.close_dead_runs() == [theirs]
    assert store.close_dead_runs() == []
    assert {run.number: run.status for run in store.runs()} == {mine: "running", theirs: "interrupted", ended: "done"}
    closed = store.run(str(theirs))
    assert closed is not None
    assert closed.record == {"rows": 3}
    assert closed.ended is not None


def test_a_run_that_never_promised_a_sign_may_be_silent(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, 0)
    begin(store)
    at(monkeypatch, 10_000)
    assert other.close_dead_runs() == []
    store.cells.refresh()
    begin(store)
    at(monkeypatch, 20_000)
    assert other.close_dead_runs() == [1, 2]


def test_a_run_closed_too_early_ends_as_it_ended(store: Store, other: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, 0)
    run = begin(store)
    store.cells.refresh()
    at(monkeypatch, 1000)
    assert other.close_dead_runs() == [run]
    store.end_run(run, "done", {"rows": 1})
    found = store.run("last")
    assert found is not None
    assert (found.status, found.record) == ("done", {"rows": 1})


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    run = begin(store)
    store.close()
    calls = [
        lambda: store.cells.find([key("a")]),
        lambda: store.cells.claim([key("a")]),
        lambda: store.cells.trace(1),
        lambda: list(store.cells.of_run(run)),
        lambda: save(store, run, new("a")),
        store.cells.refresh,
    ]
    for call in calls:
        with pytest.raises(StoreFailed):
            call()


class CellsAgainstModel(RuleBasedStateMachine):
    """Two openings of one store agree with dictionaries, whatever they do and however often they are opened again."""

    names = Bundle("names")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.stores = [Store.open(self.folder), Store.open(self.folder)]
        self.run = begin(self.stores[0])
        self.cells: dict[int, tuple[bytes, str, bool, bytes | None]] = {}
        self.claims: dict[bytes, int] = {}
        self.places: dict[tuple[int, str], tuple[int, str]] = {}
        self.variants: list[str] = []

    @rule(target=names, name=st.sampled_from("abcdefgh"))
    def name(self, name: str) -> str:
        return name

    @rule(
        who=st.integers(0, 1),
        names=st.lists(names, min_size=1, max_size=4),
        variant=st.sampled_from(["x", "y", "z"]),
        failed=st.booleans(),
        trace=st.one_of(st.none(), st.integers(0, 99).map(trace_of), st.binary(max_size=8)),
    )
    def save_new(self, who: int, names: list[str], variant: str, failed: bool, trace: bytes | None) -> None:
        rows = [ord(name) for name in names]
        placed = [
            replace(new(name, row=row, trace=trace), variant=variant, failed=failed, scores=f'"{who}"')
            for name, row in zip(names, rows, strict=True)
        ]
        numbers = save(self.stores[who], self.run, *placed)
        for cell, number in zip(placed, numbers, strict=True):
            assert number not in self.cells
            assert cell.outcome is not None
            self.cells[number] = (cell.key, cell.outcome, failed, trace)
            self.placed(cell, number)
            if self.claims.get(cell.key) == who:
                del self.claims[cell.key]

    @rule(who=st.integers(0, 1), name=names, variant=st.sampled_from(["x", "y", "z"]))
    def save_known(self, who: int, name: str, variant: str) -> None:
        kept = self.stores[who].cells.find([key(name)])
        if kept:
            cell = replace(known(new(name, row=ord(name)), kept[key(name)].number), variant=variant)
            number = kept[key(name)].number
            assert save(self.stores[who], self.run, cell) == [number]
            self.placed(cell, number)

    def placed(self, cell: CellRecord, number: int) -> None:
        self.places[cell.row, cell.variant] = (number, cell.scores)
        if cell.variant not in self.variants:
            self.variants.append(cell.variant)

    @rule(who=st.integers(0, 1), names=st.lists(names, max_size=4), errors=st.booleans())
    def claim(self, who: int, names: list[str], errors: bool) -> None:
        keys = [key(name) for name in names]
        kept = {name for name, _, failed, _ in self.cells.values() if errors or not failed}
        expected = {name for name in keys if name not in kept and self.claims.get(name, who) == who}
        assert self.stores[who].cells.claim(keys, errors=errors) == expected
        self.claims.update(dict.fromkeys(expected, who))

    @rule(who=st.integers(0, 1), name=names)
    def release(self, who: int, name: str) -> None:
        self.stores[who].cells.release([key(name)])
        if self.claims.get(key(name)) == who:
            del self.claims[key(name)]

    @rule(who=st.integers(0, 1))
    def open_again(self, who: int) -> None:
        self.stores[who].close()
        self.stores[who] = Store.open(self.folder)
        self.claims = {name: owner for name, owner in self.claims.items() if owner != who}

    @invariant()
    def agrees(self) -> None:
        keys = [key(name) for name in "abcdefgh"]
        newest = {name: (number, outcome) for number, (name, outcome, _, _) in sorted(self.cells.items())}
        good = {name: (number, outcome) for number, (name, outcome, bad, _) in sorted(self.cells.items()) if not bad}
        for store in self.stores:
            for errors, expected in ((True, newest), (False, good)):
                found = store.cells.find(keys, errors=errors)
                assert {name: (cell.number, cell.outcome) for name, cell in found.items()} == expected
            assert all(store.cells.trace(number) == trace for number, (_, _, _, trace) in self.cells.items())
            expected_places = sorted(self.places, key=lambda place: (place[0], self.variants.index(place[1])))
            cells = list(store.cells.of_run(self.run))
            assert [(cell.row, cell.variant) for cell in cells] == expected_places
            assert [(cell.number, cell.scores) for cell in cells] == [self.places[place] for place in expected_places]

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        shutil.rmtree(self.folder)


TestCellsAgainstModel = CellsAgainstModel.TestCase
TestCellsAgainstModel.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)


def test_a_store_has_one_object_of_cells(store: Store) -> None:
    assert isinstance(store.cells, Cells)
    assert store.cells is store.cells
