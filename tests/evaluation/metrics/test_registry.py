"""The words of metrics."""

import subprocess
import sys
from pathlib import Path

import pytest

from promptkit.engine.spec import ClosedModel
from promptkit.errors import InputError
from promptkit.evaluation.metrics.registry import KINDS, kind_named, kinds


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
