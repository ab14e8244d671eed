"""The loop of training on a tiny model: it learns, stops early, resumes after a kill, and keeps the best."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from promptkit.errors import Interrupted
from promptkit.training.fitting import fit as module
from promptkit.training.fitting.batches import Batches, Layout, choose_shapes
from promptkit.training.fitting.checkpoints import Checkpoint
from promptkit.training.fitting.fit import Fit, _packing, _replies
from promptkit.training.fitting.objective import AdapterMethod, Texts, measure
from promptkit.training.fitting.settings import FitProgress, FitSettings, Fitted
from promptkit.training.step_requests import TrainingExample
from promptkit.training.transformer.architectures import MATRICES
from promptkit.training.transformer.weights import Transformer
from tests.training.tiny_gguf import TinyShape, write_tiny

SETTINGS = FitSettings(batch=4, epochs=6, rate=5e-2, patience=100)
METHOD = AdapterMethod(1, 4, 8.0, MATRICES)
SIGNS = {50: 60, 51: 61}
"""The reply's first token by the token in the prompt that decides it."""


def examples(count: int, seed: int) -> tuple[TrainingExample, ...]:
    random = np.random.default_rng(seed)
    found = []
    for at in range(count):
        sign = 50 + at % 2
        prompt = (7, 8, 9, *map(int, random.integers(70, 90, 3)), sign)
        found.append(TrainingExample(at, prompt, (SIGNS[sign], 2), ((60, 61), (2,))))
    return tuple(found)


@dataclass
class Bench:
    """A tiny model, and one compiled training for all tests."""

    model: Transformer
    root: Path
    whole: Fitted

    def fit(self, key: str, **changes: Any) -> Fit:
        return fit_of(self.model, self.root, key, **changes)


def fit_of(model: Transformer, root: Path, key: str, **changes: Any) -> Fit:
    values = {
        "model": model,
        "method": METHOD,
        "training": examples(16, 0),
        "validation": examples(10, 1),
        "settings": SETTINGS,
        "checkpoint": Checkpoint(root, key),
        **changes,
    }
    return Fit(**values)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    root = tmp_path_factory.mktemp("training")
    shape = TinyShape(layers=2, width=32, inner=32, heads=2, kv_heads=1, head_size=16)
    model = Transformer.read(write_tiny(root / "tiny.gguf", shape=shape), dtype="float32")
    optimizers: dict[Any, Any] = {}
    flattened = optax.flatten

    def once(optimizer: Any) -> Any:
        return optimizers.setdefault("one", flattened(optimizer))

    # The same optimizer for all trainings, so that the step is compiled once.
    with patch.object(optax, "flatten", once):
        yield Bench(model, root, fit_of(model, root, "whole").run())


def same(one: Fitted, other: Fitted) -> bool:
    pairs = zip(jax.tree.leaves(one.parameters), jax.tree.leaves(other.parameters), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_training_learns_what_the_base_does_not_know(bench: Bench) -> None:
    whole = bench.whole

    assert whole.base.step == 0
    assert whole.best.loss < whole.base.loss / 2
    assert whole.best.accuracy == 1.0
    assert whole.ending == "finished"
    assert whole.steps == 24
    assert [found.step for found in whole.evaluations] == list(range(0, 25, 2)), "twice in each pass"


def test_a_training_that_was_killed_gives_the_same_adapter_when_it_goes_on(bench: Bench) -> None:
    class Killed(BaseException):
        pass

    def kill(progress: FitProgress) -> None:
        if progress.stage == "training" and progress.step == 7:
            raise Killed

    with pytest.raises(Killed):
        bench.fit("killed", on_progress=kill).run()
    begun: list[int] = []
    resumed = bench.fit(
        "killed", on_progress=lambda state: begun.append(state.step) if state.stage == "training" else None
    ).run()

    assert begun[0] in (7, 8), "step 6 was evaluated, and so saved"
    assert same(resumed, bench.whole)
    assert resumed.evaluations == bench.whole.evaluations


def test_another_seed_gives_another_adapter(bench: Bench) -> None:
    stop = threading.Event()
    other = bench.fit("seed", settings=replace(SETTINGS, seed=1), stop=stop, on_progress=stopping_at(1, stop)).run()

    assert other.steps == 1
    assert other.losses[0] != bench.whole.losses[0]


def stopping_at(step: int, stop: threading.Event) -> Callable[[FitProgress], None]:
    """Return a listener that ends a training after a step."""

    def listen(progress: FitProgress) -> None:
        if progress.stage == "training" and progress.step == step:
            stop.set()

    return listen


def test_an_interruption_keeps_the_best_so_far_and_goes_on_later(bench: Bench) -> None:
    stop = threading.Event()
    found = bench.fit("interrupted", stop=stop, on_progress=stopping_at(5, stop)).run()

    assert (found.ending, found.steps) == ("interrupted", 5)
    assert found.best.step == 4
    assert same(bench.fit("interrupted").run(), bench.whole)


def test_an_interruption_before_the_first_step_leaves_nothing(bench: Bench) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted, match="before the training began"):
        bench.fit("early", stop=stop).run()


def test_the_limit_of_time_ends_a_training_with_the_best_so_far(bench: Bench) -> None:
    found = bench.fit("minutes", minutes=1e-9).run()

    assert (found.ending, found.steps) == ("time limit", 0)


def with_losses(losses: Callable[[int], float], name: str) -> Any:
    """Return a patch of a function of `fit` whose loss is the one of its n-th call."""
    real, calls = getattr(module, name), iter(range(10**6))

    def changed(*arguments: Any) -> Any:
        found = real(*arguments)
        value = losses(next(calls))
        return (*found[:-1], jnp.float32(value)) if name == "train_step" else (found[0] * 0 + value, found[1])

    return patch.object(module, name, changed)


def test_a_loss_that_is_not_finite_ends_a_training_with_the_best_before(bench: Bench) -> None:
    with with_losses(lambda call: math.nan if call == 5 else 1.0, "train_step"):
        found = bench.fit("nan").run()

    assert (found.ending, found.steps) == ("loss not finite", 5)
    assert all(math.isfinite(loss) for loss in found.losses)
    assert found.best.step == 4


def test_a_base_whose_loss_is_not_finite_is_not_trained(bench: Bench) -> None:
    with with_losses(lambda call: math.nan, "measure"):
        found = bench.fit("nan base").run()

    assert (found.ending, found.steps, found.best.step) == ("loss not finite", 0, 0)


@pytest.mark.parametrize(("patience", "steps"), [(2, 6), (3, 8)])
def test_training_stops_after_as_many_evaluations_without_a_lower_loss(bench: Bench, patience: int, steps: int) -> None:
    # Three batches an evaluation: the base, then the best at step 2, then none better.
    with with_losses(lambda call: {0: 5.0, 1: 1.0}.get(call // 3, 2.0), "measure"):
        found = bench.fit(f"early {patience}", settings=replace(SETTINGS, patience=patience)).run()

    assert (found.ending, found.steps, found.best.step) == ("stopped early", steps, 2)


def test_a_gain_that_is_too_small_to_matter_does_not_go_on(bench: Bench) -> None:
    with with_losses(lambda call: 1.0 - call // 3 * (module.LEAST_GAIN - 1e-4), "measure"):
        found = bench.fit("small gains", settings=replace(SETTINGS, patience=1)).run()

    assert (found.ending, found.steps, found.best.step) == ("stopped early", 2, 2)


def test_a_damaged_checkpoint_begins_anew(bench: Bench) -> None:
    checkpoint = Checkpoint(bench.root, "damaged")
    checkpoint.file.write_bytes(b"PK\x03\x04 cut")

    assert checkpoint.load((jnp.zeros(2),), jnp.zeros(2)) is None


def test_packed_texts_are_measured_as_texts_of_their_own(bench: Bench) -> None:
    found = examples(6, 2)
    parameters = bench.whole.parameters
    losses = []
    for beginning in ((), (7, 8, 9)):
        layout = Layout(3, beginning, choose_shapes(found, len(beginning), 3, 1))
        method = replace(METHOD, first_layer=0)
        for _, batch in Batches(found, layout).all():
            texts = Texts(jnp.asarray(batch.tokens), _packing(batch))
            losses.append(
                measure(bench.model.config, method, bench.model.weights, parameters, texts, _replies(batch))[0]
            )

    np.testing.assert_allclose(np.concatenate(losses[:2]), np.concatenate(losses[2:]), rtol=1e-4)
