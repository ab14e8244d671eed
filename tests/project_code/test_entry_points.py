"""Extensions by installed packages: found without loading them, loaded within a guard, checked for their shape."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.project_code.entry_points import check_subclass, load_entry_point, load_entry_points

GROUP = "promptkit.of_a_test"


class Base(ABC):
    """A base that extensions stand for."""

    @abstractmethod
    def measure(self, given: str) -> float: ...

    async def ask(self, given: str, *, twice: bool) -> str:
        return given


BASE: Any = Base


class Right(Base):
    def measure(self, other_name: str) -> float:
        return 1.0

    async def ask(self, given: str, *, twice: bool = False, further: int = 0) -> str:
        return given


def install(site: Path, name: str, code: str, entry: str = "") -> None:
    """Write a package of one module as pip installs it."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entry or f'{name} = {name}:Mine'}\n")
    (site / f"{name}.py").write_text(code)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return tmp_path / "site"


def load(name: str, root: Path) -> Any:
    return load_entry_point(load_entry_points(GROUP, root)[name], "thing", lambda found: check_subclass(found, Right))


def test_what_a_package_names_is_found_without_running_it(site: Path, tmp_path: Path) -> None:
    install(site, "unrun_of_a_test", "raise SystemExit(1)")

    assert list(load_entry_points(GROUP, tmp_path / "project")) == ["unrun_of_a_test"]


def test_packages_are_read_again_where_python_looks_in_other_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, site = tmp_path / "project", tmp_path / "site"
    install(site, "later_of_a_test", "")

    assert load_entry_points(GROUP, root) == {}
    monkeypatch.syspath_prepend(str(site))
    assert list(load_entry_points(GROUP, root)) == ["later_of_a_test"]


def test_what_a_package_names_is_loaded(site: Path, tmp_path: Path) -> None:
    install(
        site,
        "right_of_a_test",
        "from tests.project_code.test_entry_points import Right\nclass Mine(Right): pass\n",
    )

    assert load("right_of_a_test", tmp_path / "project").__name__ == "Mine"


@pytest.mark.attack("code")
def test_metadata_in_the_projects_folder_extends_nothing(site: Path) -> None:
    install(site, "evil_of_a_test", "")

    assert load_entry_points(GROUP, site) == {}


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import nowhere_at_all", "cannot be loaded: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("raise SystemExit(3)", "cannot be loaded: SystemExit: 3"),
        ("", "cannot be loaded: AttributeError: module 'wrong_of_a_test' has no attribute 'Mine'"),
        (
            "Mine = 3",
            "cannot be loaded: TypeError: 3 is not a subclass of `tests.project_code.test_entry_points.Right`",
        ),
    ],
)
def test_what_cannot_be_loaded_is_an_error_with_its_name(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, problem: str
) -> None:
    monkeypatch.delitem(__import__("sys").modules, "wrong_of_a_test", raising=False)
    install(site, "wrong_of_a_test", code)

    with pytest.raises(InputError) as caught:
        load("wrong_of_a_test", tmp_path / "project")

    assert str(caught.value).startswith(f"wrong_of_a_test:Mine: thing `wrong_of_a_test` {problem}")


def test_a_class_that_can_be_called_as_the_base_is_has_the_right_shape() -> None:
    assert check_subclass(Right, BASE) is Right


def test_a_class_with_an_abstract_method_left_is_refused() -> None:
    class Half(Base):
        pass

    with pytest.raises(TypeError, match="`Half` does not define `measure`"):
        check_subclass(Half, BASE)


def test_a_method_that_takes_less_than_the_bases_is_refused_with_its_place() -> None:
    class Short(Base):
        def measure(self) -> float:  # type: ignore[override]
            return 1.0

    with pytest.raises(
        TypeError, match=r"`measure` of `Short` must take \(self, given\) \(.*test_entry_points.py:\d+\)"
    ):
        check_subclass(Short, BASE)


def test_a_method_that_needs_more_than_the_bases_is_refused() -> None:
    class Long(Right):
        async def ask(self, given: str, *, twice: bool = False, further: int) -> str:  # type: ignore[override]
            return given

    with pytest.raises(TypeError, match=r"`ask` of `Long` must take \(self, given, twice\)"):
        check_subclass(Long, BASE)


def test_a_method_that_is_not_async_as_the_bases_is_refused() -> None:
    class Plain(Right):
        def ask(self, given: str, *, twice: bool = False) -> str:  # type: ignore[override]
            return given

    with pytest.raises(TypeError, match="`ask` of `Plain` must be an `async def`"):
        check_subclass(Plain, BASE)
