"""Replies on their way to the disk: in groups, there when `keep` returns, and apart where they were made alone."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from promptkit.errors import StoreFailed
from promptkit.evaluation.cells.saver import ReplyCache
from promptkit.storage.store import Store


class Held:
    """A store whose writes are done when the test says so."""

    def __init__(self) -> None:
        self.writes: list[tuple[set[str], Future[None]]] = []

    def keep_all(self, values: Mapping[str, str]) -> Future[None]:
        self.writes.append((set(values), Future()))
        return self.writes[-1][1]

    def done(self, write: int, error: Exception | None = None) -> None:
        future = self.writes[write][1]
        future.set_result(None) if error is None else future.set_exception(error)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as store:
        yield store


async def pass_on() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_reply_is_on_disk_when_it_is_kept(store: Store) -> None:
    with ReplyCache(store) as replies:
        await replies.keep("a", "one")
        assert (replies.cached("a"), store.cached("a"), replies.cached("b")) == ("one", "one", None)


async def test_nothing_is_kept_before_its_group_is_written_and_what_comes_meanwhile_is_the_next_group() -> None:
    held = Held()
    replies = ReplyCache(cast(Store, held))
    keeping = {key: asyncio.create_task(replies.keep(key, key)) for key in "abc"}
    await pass_on()
    assert [keys for keys, _ in held.writes] == [{"a"}]
    assert not any(task.done() for task in keeping.values())
    held.done(0)
    await pass_on()
    assert {key for key, task in keeping.items() if task.done()} == {"a"}
    assert [keys for keys, _ in held.writes] == [{"a"}, {"b", "c"}]
    held.done(1)
    await asyncio.gather(*keeping.values())


async def test_all_of_a_group_that_cannot_be_written_fail_and_the_next_group_is_written() -> None:
    held = Held()
    replies = ReplyCache(cast(Store, held))
    keeping = [asyncio.create_task(replies.keep(key, key)) for key in "abc"]
    await pass_on()
    held.done(0)
    await pass_on()
    held.done(1, StoreFailed("full"))
    last = asyncio.create_task(replies.keep("d", "d"))
    await pass_on()
    held.done(2)
    failed = await asyncio.gather(*keeping, last, return_exceptions=True)
    assert [type(each) for each in failed] == [type(None), StoreFailed, StoreFailed, type(None)]


async def test_a_reply_that_nobody_waits_for_any_more_is_kept_at_the_end_of_the_block(
    store: Store, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "store.db")) as other:
        with ReplyCache(store) as replies:
            other.execute("begin immediate")
            keeping = [asyncio.create_task(replies.keep(key, key)) for key in "ab"]
            await pass_on()
            for task in keeping:
                task.cancel()
            await asyncio.gather(*keeping, return_exceptions=True)
        other.rollback()
    store.close()
    with Store.open(tmp_path) as again:
        assert (again.cached("a"), again.cached("b")) == ("a", "b")


async def test_a_reply_of_one_at_a_time_is_never_one_of_several_at_once(store: Store) -> None:
    with ReplyCache(store) as replies, ReplyCache(store, exact=True) as alone:
        await replies.keep("a", "together")
        assert alone.cached("a") is None
        await alone.keep("a", "alone")
        assert (replies.cached("a"), alone.cached("a")) == ("together", "alone")
