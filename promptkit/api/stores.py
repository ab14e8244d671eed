"""The store of a project, also where its folder cannot be written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from promptkit.errors import StoreFailed
from promptkit.project import Project, cache_folder
from promptkit.storage.store import FILE, Store
from promptkit.storage.unwritable import open_substitute, store_to_read, substitute_folder


@contextmanager
def open_store(project: Project, notify: Callable[[str], None]) -> Iterator[Store]:
    """Open the project's store, to read it and to add to it.

    Where its folder cannot be written, a copy in the user's cache folder stands for it; where that cannot be written
    either, a copy that is gone after the block. A notice says so.
    """
    with ExitStack() as stack:
        store = stack.enter_context(_store_to_write(project, notify, stack))
        try:
            yield store
        finally:
            if store.damage.notice:
                notify(store.damage.notice)


def _store_to_write(project: Project, notify: Callable[[str], None], stack: ExitStack) -> Store:
    size = project.settings.cache.size
    try:
        return Store.open(project.store_folder, cache_size=size)
    except StoreFailed as error:
        if not error.read_only:
            raise
        unwritable = error
    try:
        store = open_substitute(project.store_folder, cache_folder(), cache_size=size)
    except StoreFailed:
        notify(f"{unwritable.message}; nothing of this is kept")
        temporary = Path(stack.enter_context(TemporaryDirectory(prefix="promptkit-")))
        store = open_substitute(project.store_folder, temporary, cache_size=size)
        store.is_temporary = True
        return store
    notify(f"{unwritable.message}; this is kept in {store.path.parent}, where `promptkit runs` finds it")
    return store


@contextmanager
def open_store_of_runs(project: Project) -> Iterator[Store]:
    """Open the store in which the project's runs are; where there is none, an empty one that is gone after the block.

    One that cannot be written is read, or the copy in the user's cache folder to which runs were added.
    """
    folder, size = project.store_folder, project.settings.cache.size
    with ExitStack() as stack:
        try:
            there = folder if folder.is_dir() else Path(stack.enter_context(TemporaryDirectory(prefix="promptkit-")))
            if there != folder and _has_substitute(project):
                store = open_substitute(folder, cache_folder(), cache_size=size)
            else:
                store = Store.open(there, cache_size=size)
        except StoreFailed as error:
            if not (error.read_only or error.disk_full):
                raise
            if _has_substitute(project):
                store = open_substitute(folder, cache_folder(), cache_size=size)
            else:
                yield stack.enter_context(store_to_read(folder))
                return
        yield stack.enter_context(store)


def _has_substitute(project: Project) -> bool:
    return (substitute_folder(project.store_folder, cache_folder()) / FILE).is_file()
