"""Replies on their way to the disk: found from the moment they are kept, and apart where they were made alone."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from promptkit.evaluation.replies import GROUP_SECONDS, Replies
from promptkit.storage import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as store:
        yield store


async def until_kept(store: Store, key: str) -> None:
    async with asyncio.timeout(10):
        while store.cached(key) is None:
            await asyncio.sleep(GROUP_SECONDS)


async def test_a_reply_is_found_at_once_and_is_on_disk_soon(store: Store) -> None:
    with Replies(store) as replies:
        await replies.keep("a", "one")
        assert (replies.cached("a"), store.cached("a"), replies.cached("b")) == ("one", None, None)
        await until_kept(store, "a")
        assert replies.cached("a") == "one"


async def test_what_is_kept_when_the_block_ends_is_on_disk_when_the_store_is_closed(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store, Replies(store) as replies:
        await replies.keep("a", "one")
    with Store.open(tmp_path) as store:
        assert store.cached("a") == "one"


async def test_a_reply_is_found_while_another_process_holds_the_store(store: Store, tmp_path: Path) -> None:
    with Replies(store) as replies, closing(sqlite3.connect(tmp_path / "store.db")) as other:
        other.execute("begin immediate")
        await replies.keep("a", "one")
        await asyncio.sleep(5 * GROUP_SECONDS)
        assert store.cached("a") is None
        assert replies.cached("a") == "one"
        other.rollback()
        await until_kept(store, "a")
        assert replies.cached("a") == "one"


async def test_a_reply_of_one_at_a_time_is_never_one_of_several_at_once(store: Store) -> None:
    with Replies(store) as replies, Replies(store, exact=True) as alone:
        await replies.keep("a", "together")
        assert alone.cached("a") is None
        await until_kept(store, "a")
        assert alone.cached("a") is None
        await alone.keep("a", "alone")
        assert (replies.cached("a"), alone.cached("a")) == ("together", "alone")
