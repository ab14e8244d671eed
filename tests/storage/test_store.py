"""The store keeps what it was given, bounds its cache, and says what to do when the file is unusable."""

from __future__ import annotations

import asyncio
import errno
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

import promptkit.storage
from promptkit.errors import InputError, StoreFailed
from promptkit.storage import database
from promptkit.storage.store import Store
from tests.storage.failing import FailingConnection


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as store:
        yield store


def keep(store: Store, **answers: str) -> None:
    async def all_at_once() -> None:
        await asyncio.gather(*(store.keep(key, value) for key, value in answers.items()))

    asyncio.run(all_at_once())


def save_call(store: Store, run: int, call: dict[str, Any]) -> None:
    asyncio.run(store.save_calls(run, [call]))


def integrity(folder: Path) -> str:
    with closing(sqlite3.connect(folder / "store.db")) as connection:
        return str(connection.execute("pragma integrity_check").fetchone()[0])


def test_an_answer_is_found_under_its_key_only(store: Store) -> None:
    keep(store, a="1", b="2")
    assert (store.cached("a"), store.cached("b"), store.cached("c")) == ("1", "2", None)


ODD_TEXTS = ["", "\0", "\ud800", "é\r\n\x1b[31m\u202e", "x" * 5_000_000]


@pytest.mark.parametrize("value", ODD_TEXTS, ids=["empty", "NUL", "half a pair", "control characters", "5 MB"])
def test_an_answer_comes_back_exactly(store: Store, value: str) -> None:
    keep(store, a=value)
    assert store.cached("a") == value


def test_an_answer_kept_again_replaces_the_old_one(store: Store) -> None:
    keep(store, a="old")
    keep(store, a="new")
    assert store.cached("a") == "new"


def test_what_was_kept_is_there_after_opening_again(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        keep(store, a="1")
    with Store.open(tmp_path) as store:
        assert store.cached("a") == "1"


def test_an_answer_is_kept_although_nobody_waits_any_more(store: Store) -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(store.keep("a", "1"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    keep(store, b="2")
    assert store.cached("a") == "1"


def test_many_answers_at_once_share_few_commits(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = []
    real = database.Database._transact

    def counted(self: database.Database, changes: list[Callable[[sqlite3.Connection], Any]]) -> list[Any]:
        commits.append(len(changes))
        return real(self, changes)

    monkeypatch.setattr(database.Database, "_transact", counted)
    keep(store, **{str(number): "x" for number in range(500)})
    assert sum(commits) == 500
    assert len(commits) < 100


def test_the_cache_stays_near_its_size_and_drops_what_was_not_used_for_long(tmp_path: Path) -> None:
    with Store.open(tmp_path, cache_size=100_000) as store:
        keep(store, favourite="x" * 1000)
        for group in range(10):
            keep(store, **{f"{group}.{number}": "x" * 1000 for number in range(50)})
            assert store.cached("favourite") is not None
            store._answers.note_use()
        held = [f"{group}.{number}" for group in range(10) for number in range(50)]
        kept = [key for key in held if store.cached(key) is not None]
        assert 50 < len(kept) <= 110
        assert "9.49" in kept
        assert "0.0" not in kept


def test_a_cache_of_no_size_keeps_nothing_and_breaks_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path, cache_size=0) as store:
        keep(store, a="1", b="2")
        assert store.cached("a") is None


def test_a_run_is_begun_ended_and_read(store: Store) -> None:
    number = store.begin_run("run", "feedback", model={"reference": "scripted:x"}, inputs={"text": "é"})
    running = store.run("last")
    assert running is not None
    assert (running.status, running.record, running.ended) == ("running", {}, None)
    save_call(store, number, {"name": "a"})
    save_call(store, number, {"name": "b"})
    store.end_run(number, "done", {"output": [1, None]})
    done = store.run(str(number))
    assert done is not None
    assert (done.kind, done.target, done.status) == ("run", "feedback", "done")
    assert (done.model, done.inputs, done.record) == ({"reference": "scripted:x"}, {"text": "é"}, {"output": [1, None]})
    assert done.ended is not None and done.ended >= done.started
    assert store.calls(number) == [{"name": "a"}, {"name": "b"}]
    assert store.calls(number + 1) == []


def test_runs_are_named_by_number_and_by_how_long_ago(store: Store) -> None:
    numbers = [store.begin_run(kind, target, model={}) for kind in ("run", "eval") for target in ("a", "b")]
    store.end_run(numbers[0], "done", {})

    def named(reference: str, **filters: str) -> int | None:
        run = store.run(reference, **filters)
        return run.number if run else None

    assert named("last") == numbers[3]
    assert named("last~1") == numbers[2]
    assert named("last~4") is None
    assert named("last", kind="run") == numbers[1]
    assert named("last", target="a") == numbers[2]
    assert named("last", status="done") == numbers[0]
    assert named(str(numbers[1])) == numbers[1]
    assert named(str(numbers[1]), target="a") is None
    assert named("999") is None
    assert [run.number for run in store.runs(kind="eval")] == [numbers[3], numbers[2]]
    assert [run.number for run in store.runs(limit=1)] == [numbers[3]]


@pytest.mark.parametrize("reference", ["", "lost", "last~", "last~-1", "-1", "1; drop table runs", "٣"])
def test_what_names_no_run_is_an_input_error(store: Store, reference: str) -> None:
    with pytest.raises(InputError):
        store.run(reference)


def test_a_pinned_case_remembers_its_last_result(store: Store) -> None:
    store.remember("feedback", "mixed", {"output": 1})
    store.remember("feedback", "mixed", {"output": 2})
    store.remember("other", "mixed", {"output": 3})
    assert store.remembered("feedback", "mixed") == {"output": 2}
    assert store.remembered("feedback", "simple") is None


def test_a_number_that_is_not_json_is_refused_before_it_is_stored(store: Store) -> None:
    with pytest.raises(ValueError, match="JSON"):
        store.remember("feedback", "mixed", {"score": float("nan")})


def test_the_folder_is_made_and_hidden_from_git(tmp_path: Path) -> None:
    Store.open(tmp_path / "new" / ".promptkit").close()
    assert (tmp_path / "new" / ".promptkit" / ".gitignore").read_text() == "*\n"


def test_a_store_closed_twice_is_closed_and_says_so(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.close()
    store.close()
    with pytest.raises(StoreFailed):
        keep(store, a="1")
    with pytest.raises(StoreFailed):
        store.cached("a")


@pytest.mark.attack("store")
@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to be read as one" * 100, b"SQLite format 3\0junk"]
)
def test_a_broken_file_says_how_to_go_on(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "store.db").write_bytes(content)
    with pytest.raises(StoreFailed, match=r"store\.db") as caught:
        Store.open(tmp_path)
    assert "mv " in (caught.value.hint or "")


@pytest.mark.attack("store")
def test_pages_overwritten_with_junk_are_a_store_failure(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        keep(store, **{str(number): "x" * 1000 for number in range(200)})
    path = tmp_path / "store.db"
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(StoreFailed, match=r"store\.db"), Store.open(tmp_path) as store:
        for number in range(200):
            store.cached(str(number))


@pytest.mark.attack("store")
def test_a_file_of_a_newer_promptkit_is_left_alone(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        connection.execute("pragma user_version = 99")
    with pytest.raises(StoreFailed, match="newer") as caught:
        Store.open(tmp_path)
    assert "upgrade" in (caught.value.hint or "")


@pytest.mark.attack("store")
@pytest.mark.parametrize("place", ["file/store", "store-is-a-folder"])
def test_a_place_where_no_store_can_be_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "store-is-a-folder" / "store.db").mkdir(parents=True)
    with pytest.raises(StoreFailed, match="store"):
        Store.open(tmp_path / place)


@pytest.mark.attack("disk")
def test_a_full_disk_loses_nothing_that_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = database.connect

    def small(path: Path) -> sqlite3.Connection:
        connection = real(path)
        connection.execute("pragma max_page_count = 40")
        return connection

    kept = []
    with monkeypatch.context() as patch:
        patch.setattr(database, "connect", small)
        with Store.open(tmp_path) as store, pytest.raises(StoreFailed, match="full") as caught:
            for number in range(1000):
                keep(store, **{str(number): "x" * 1000})
                kept.append(number)
        assert "free space" in (caught.value.hint or "")
    assert kept
    assert integrity(tmp_path) == "ok"
    with Store.open(tmp_path) as store:
        assert all(store.cached(str(number)) for number in kept)
        keep(store, more="x")


@pytest.mark.parametrize(
    "failure",
    [OSError(errno.EIO, "Input/output error"), sqlite3.OperationalError("disk I/O error"), KeyboardInterrupt()],
    ids=lambda failure: type(failure).__name__,
)
def test_whichever_statement_fails_the_store_is_whole_and_the_next_try_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    real = database.connect
    expected = KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else StoreFailed
    for statement in range(1, 1000):
        folder = tmp_path / str(statement)
        countdown = [statement]
        done: list[str] = []
        with monkeypatch.context() as patch:
            patch.setattr(
                database, "connect", lambda path, left=countdown: FailingConnection(real(path), left, failure)
            )
            try:
                script(folder, done)
            except expected as error:
                assert expected is KeyboardInterrupt or "store.db" in str(error)
            else:
                break
        assert integrity(folder) == "ok"
        again: list[str] = []
        script(folder, again)
        assert again == ["a", "run", "call", "end", "case"]
        with Store.open(folder) as store:
            assert len(store.runs()) == 1 + ("run" in done)
    else:
        pytest.fail("the script never ran to its end")
    assert statement > 20


def script(folder: Path, done: list[str]) -> None:
    """Use each kind of write once; `done` names those that returned."""
    with Store.open(folder) as store:
        keep(store, a="1")
        done.append("a")
        run = store.begin_run("run", "t", model={})
        done.append("run")
        save_call(store, run, {"n": 1})
        done.append("call")
        store.end_run(run, "done", {})
        done.append("end")
        store.remember("t", "c", {})
        done.append("case")


def test_a_migration_that_dies_half_way_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(tmp_path) as store:
        keep(store, a="1")
    step = ("create table extra (x)", "insert into extra values (1)", "create table broken (")
    with monkeypatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, step))
        with pytest.raises(StoreFailed):
            Store.open(tmp_path)
    with Store.open(tmp_path) as store:
        assert store.cached("a") == "1"
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        assert connection.execute("select count(*) from sqlite_master where name = 'extra'").fetchone() == (0,)


def test_every_writing_transaction_is_immediate() -> None:
    folder = Path(promptkit.storage.__file__).parent
    begun = [match for path in folder.glob("*.py") for match in re.findall(r'"begin[^"]*"', path.read_text())]
    assert begun
    assert set(begun) == {'"begin immediate"'}


class StoreAgainstModel(RuleBasedStateMachine):
    """Whatever is done in whatever order, opened again at any time, the store holds what a dictionary would."""

    keys = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store = Store.open(self.folder)
        self.answers: dict[str, str] = {}
        self.cases: dict[tuple[str, str], dict[str, Any]] = {}
        self.calls: dict[int, list[dict[str, Any]]] = {}
        self.status: dict[int, str] = {}

    @rule(target=keys, key=st.text(st.characters(exclude_categories=["Cs"]), max_size=3))
    def name(self, key: str) -> str:
        return key

    @rule(key=keys, value=st.text(st.characters(), max_size=5))
    def keep(self, key: str, value: str) -> None:
        asyncio.run(self.store.keep(key, value))
        self.answers[key] = value

    @rule(key=keys, case=keys, value=st.integers())
    def remember(self, key: str, case: str, value: int) -> None:
        self.store.remember(key, case, {"value": value})
        self.cases[key, case] = {"value": value}

    @rule(key=keys)
    def begin(self, key: str) -> None:
        run = self.store.begin_run("run", key, model={})
        assert run not in self.calls
        self.calls[run] = []
        self.status[run] = "running"

    @rule(data=st.data(), value=st.text(st.characters(), max_size=3))
    def call(self, data: st.DataObject, value: str) -> None:
        if self.calls:
            run = data.draw(st.sampled_from(sorted(self.calls)))
            asyncio.run(self.store.save_calls(run, [{"text": value}]))
            self.calls[run].append({"text": value})

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        if self.calls:
            run = data.draw(st.sampled_from(sorted(self.calls)))
            self.store.end_run(run, "done", {})
            self.status[run] = "done"

    @rule()
    def open_again(self) -> None:
        self.store.close()
        self.store = Store.open(self.folder)

    @invariant()
    def agrees(self) -> None:
        assert all(self.store.cached(key) == value for key, value in self.answers.items())
        assert all(self.store.remembered(*names) == record for names, record in self.cases.items())
        assert all(self.store.calls(run) == calls for run, calls in self.calls.items())
        found = self.store.runs(limit=1000)
        assert {run.number: run.status for run in found} == self.status

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)


TestStoreAgainstModel = StoreAgainstModel.TestCase
TestStoreAgainstModel.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
