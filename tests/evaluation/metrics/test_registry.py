"""The words of metrics."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from promptkit.engine.spec import ClosedModel
from promptkit.errors import InputError
from promptkit.evaluation.metrics.base import MetricContext
from promptkit.evaluation.metrics.registry import KINDS, kind_named, kinds
from promptkit.project import Project


def test_every_word_has_a_class_of_that_kind_that_says_what_it_is() -> None:
    for word in kinds():
        kind = kind_named(word)
        assert kind.kind == word and kind.about and issubclass(kind.Parameters, ClosedModel)
        assert kind.short is None or kind.short in {
            field.alias or name for name, field in kind.Parameters.model_fields.items()
        }
    assert len(set(KINDS.values())) == len(KINDS)


def test_a_word_that_there_is_not_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean `balanced_accuracy`"):
        kind_named("balanced_acuracy")


def test_a_kind_is_loaded_when_it_is_used() -> None:
    code = (
        "import sys; from promptkit.evaluation.metrics.registry import kind_named; kind_named('exact');"
        "print(*{'scipy', 'promptkit.evaluation.metrics.labels'} & set(sys.modules))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


MINE = """
from promptkit.evaluation.metrics.base import Score
from promptkit.evaluation.metrics.estimation import Proportion

class Mine(Proportion):
    kind = "{name}"
    about = "one of a test"

    def measure(self, given):
        return Score(1.0)
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Install a package with a metric of its name."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def write(name: str, code: str) -> None:
        info = tmp_path / "site" / f"{name}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[promptkit.metrics]\n{name} = {name}:Mine\n")
        (tmp_path / "site" / f"{name}.py").write_text(code.replace("{name}", name))

    return write


def test_an_installed_package_brings_a_kind(install: Callable[[str, str], None], tmp_path: Path) -> None:
    install("whole_of_a_test", MINE)

    kind = kind_named("whole_of_a_test", tmp_path / "project")

    assert (kind.kind, kind.about) == ("whole_of_a_test", "one of a test")
    context = MetricContext(project=Project(tmp_path), folder=tmp_path)
    metric = kind("it", kind.Parameters(), context)
    assert metric.key == "whole_of_a_test:{}:whole_of_a_test 1.2"


def test_an_unknown_word_names_the_nearest_of_a_package(install: Callable[[str, str], None], tmp_path: Path) -> None:
    install("another_of_a_test", MINE)

    with pytest.raises(InputError, match="did you mean `another_of_a_test`"):
        kind_named("another_of_a_tests", tmp_path / "project")


def test_a_shipped_kind_wins_over_a_packages(install: Callable[[str, str], None], tmp_path: Path) -> None:
    install("exact", MINE)

    assert kind_named("exact", tmp_path / "project").__module__ == "promptkit.evaluation.metrics.matches"


@pytest.mark.parametrize(
    ("name", "changed", "problem"),
    [
        ("odd_of_a_test", ('kind = "{name}"', 'kind = "other"'), 'must say `kind = "odd_of_a_test"`'),
        (
            "mute_of_a_test",
            ("def measure", "def measures"),
            "defines none of `measure`, `measure_async` and `measure_pair`",
        ),
        ("bare_of_a_test", ("(Proportion)", "(Proportion.__base__)"), "does not define `estimate` and `difference`"),
        ("short_of_a_test", ("(self, given)", "(self)"), "`measure` of `Mine` must take (self, given)"),
    ],
)
def test_a_class_of_a_wrong_shape_is_refused_before_anything_is_asked(
    install: Callable[[str, str], None], tmp_path: Path, name: str, changed: tuple[str, str], problem: str
) -> None:
    install(name, MINE.replace(*changed))

    with pytest.raises(InputError, match=re.escape(problem)):
        kind_named(name, tmp_path / "project")
