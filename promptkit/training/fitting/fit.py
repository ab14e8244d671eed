"""The loop of training: steps, evaluations, early stopping, checkpoints."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import jax.numpy as jnp
import numpy as np
import optax

from promptkit.errors import Interrupted
from promptkit.runtimes.in_process.llama_cpp import resident_bytes
from promptkit.training.fitting.batches import Batch, Batches, Shape, choose_layout
from promptkit.training.fitting.checkpoints import Checkpoint, State
from promptkit.training.fitting.objective import Method, Replies, Texts, lower_states, measure, train_step
from promptkit.training.fitting.settings import Ending, Evaluation, FitProgress, FitSettings, Fitted
from promptkit.training.step_requests import TrainingExample
from promptkit.training.transformer.forward import Packing
from promptkit.training.transformer.weights import Transformer

CHECKPOINT_SECONDS: Final = 30.0
LEAST_GAIN: Final = 0.005
"""The least fall of the validation loss that counts as one, in nats a token."""
SHOWN_STEPS: Final = 10
"""The last steps whose mean loss is shown."""
STATES_IN_FLOAT32: Final = 256 << 20
"""Bytes of kept states up to which they are kept as float32, else as bfloat16."""


@dataclass(kw_only=True)
class Fit:
    """A training of one method on examples.

    `validation` are deciding requests, one a row. `minutes` bounds the time of all runs that a checkpoint joins. A set
    `stop` ends the training after the running step. `on_progress` is called after each step, in this thread.
    """

    model: Transformer
    method: Method
    training: Sequence[TrainingExample]
    validation: Sequence[TrainingExample]
    settings: FitSettings
    checkpoint: Checkpoint
    minutes: float | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    on_progress: Callable[[FitProgress], None] = lambda progress: None

    def run(self) -> Fitted:
        """Train, or go on from the checkpoint, until a condition ends it, and return the best parameters.

        Raises StoreFailed where a checkpoint cannot be written.
        """
        return _Run(self).run()


class _Run:
    """One run of a training."""

    def __init__(self, fit: Fit) -> None:
        settings = fit.settings
        self.fit = fit
        layout = choose_layout(
            [*fit.training, *fit.validation], fit.model.config, size=settings.batch, epochs=settings.epochs
        )
        self.training = Batches(fit.training, layout)
        self.validation = Batches(fit.validation, layout)
        self.steps = settings.epochs * len(self.training)
        self.every = max(1, len(self.training) // 2)
        warmup = max(1, round(settings.warmup * self.steps))
        rates = optax.warmup_cosine_decay_schedule(
            0.0, settings.rate, warmup, max(self.steps, warmup + 1), end_value=settings.rate / 10
        )
        adamw = optax.adamw(rates, weight_decay=settings.decay)
        # On one vector, since XLA compiles operations on each of the many factors apart.
        self.optimizer = optax.flatten(optax.chain(optax.clip_by_global_norm(settings.clip), adamw))
        self.kept: dict[Batches, list[Any]] = {}
        self.beginning: Any = None
        self.peak = resident_bytes()
        self.started = time.monotonic()
        self.saved = self.started
        self.before = 0.0

    @property
    def seconds(self) -> float:
        """The time of the training, with that of the runs before a checkpoint."""
        return self.before + time.monotonic() - self.started

    def run(self) -> Fitted:
        fit = self.fit
        config, weights = fit.model.config, fit.model.weights
        parameters = fit.method.initial(config, weights, fit.settings.seed)
        state = State(0, parameters, parameters, self.optimizer.init(parameters), (), (), 0.0)
        found = fit.checkpoint.load(state.parameters, state.optimizer)
        if found is not None:
            state, self.before = found, found.seconds
        self._keep_states()
        if fit.stop.is_set() and not state.evaluations:
            raise Interrupted("interrupted before the training began")
        ending: Ending = "finished"
        if not state.evaluations:
            state = self._evaluated(state)
        if not math.isfinite(state.evaluations[0].loss):
            ending, self.steps = "loss not finite", 0
        while state.step < self.steps:
            if (reason := self._reason_to_end(state)) is not None:
                ending = reason
                break
            state, is_finite = self._stepped(state)
            if not is_finite:
                ending = "loss not finite"
                break
        best = min(state.evaluations, key=lambda evaluation: evaluation.loss)
        return Fitted(
            state.best, best, state.evaluations, state.losses, state.step, ending, self.seconds, self._memory()
        )

    def _reason_to_end(self, state: State) -> Ending | None:
        fit = self.fit
        losses = [evaluation.loss for evaluation in state.evaluations]
        is_late = fit.minutes is not None and self.seconds >= 60 * fit.minutes
        if fit.stop.is_set() or is_late:
            self._save(state)
            return "interrupted" if fit.stop.is_set() else "time limit"
        last_gain = 0
        for at, loss in enumerate(losses):
            last_gain = at if loss < losses[last_gain] - LEAST_GAIN else last_gain
        return "stopped early" if len(losses) - 1 - last_gain >= fit.settings.patience else None

    def _stepped(self, state: State) -> tuple[State, bool]:
        """Return the state after one more step, and False where its loss was not finite."""
        fit = self.fit
        epoch, at = divmod(state.step, len(self.training))
        shape, batch = self.training.shuffled(fit.settings.seed, epoch, at)
        parameters, optimizer, value = train_step(
            fit.model.config,
            fit.method,
            self.optimizer,
            fit.model.weights,
            state.parameters,
            state.optimizer,
            self._texts(self.training, shape, batch),
            _replies(batch),
        )
        loss = float(value)
        if not math.isfinite(loss):
            return state, False
        losses = (*state.losses, loss)
        state = replace(state, step=state.step + 1, parameters=parameters, optimizer=optimizer, losses=losses)
        if state.step % self.every == 0 or state.step == self.steps:
            state = self._evaluated(state)
            if not math.isfinite(state.evaluations[-1].loss):
                return replace(state, evaluations=state.evaluations[:-1]), False
            self._save(state)
        elif time.monotonic() - self.saved > CHECKPOINT_SECONDS:
            self._save(state)
        self._report("training", state)
        return state, True

    def _evaluated(self, state: State) -> State:
        """Return the state with an evaluation, and with its parameters as the best ones where it has the least loss."""
        fit = self.fit
        self._report("validating", state)
        loss, tokens = 0.0, 0
        right = [False] * len(fit.validation)
        for shape, batch in self.validation.all():
            losses, rights = measure(
                fit.model.config,
                fit.method,
                fit.model.weights,
                state.parameters,
                self._texts(self.validation, shape, batch),
                _replies(batch),
            )
            for row, example in enumerate(batch.examples):
                loss += float(losses[row])
                right[example] = bool(rights[row])
            tokens += int(batch.weights.sum())
        found = Evaluation(state.step, loss / tokens, tuple(right))
        is_best = all(found.loss < earlier.loss for earlier in state.evaluations)
        best = state.parameters if is_best else state.best
        return replace(state, best=best, evaluations=(*state.evaluations, found))

    def _keep_states(self) -> None:
        """Compute the states of the layers that the method does not reach, once."""
        fit = self.fit
        first = fit.method.first_layer
        if not first:
            return
        tokens = sum(len(example) for example in (*fit.training, *fit.validation))
        kind = np.float32 if 4 * tokens * fit.model.config.width <= STATES_IN_FLOAT32 else jnp.bfloat16
        total, done = len(self.training) + len(self.validation), 0
        for batches in (self.training, self.validation):
            kept: list[Any] = [None] * len(batches.examples)
            for shape, batch in batches.all():
                if fit.stop.is_set():
                    return
                fit.on_progress(FitProgress("reading the rows", done, total, memory=self._memory()))
                texts = Texts(jnp.asarray(batch.tokens), _packing(batch))
                states = np.asarray(lower_states(fit.model.config, first, fit.model.weights, texts), kind)
                self.beginning = states[0, : len(batches.layout.beginning)].copy()
                for number, example in enumerate(batch.examples):
                    row, column = batches.start(number, shape)
                    kept[example] = states[row, column : column + batches.length(example)].copy()
                done += 1
            self.kept[batches] = kept

    def _texts(self, batches: Batches, shape: Shape, batch: Batch) -> Texts:
        """Return the method's input of a batch: its tokens, or their kept states."""
        if not self.fit.method.first_layer:
            return Texts(jnp.asarray(batch.tokens), _packing(batch))
        states = np.zeros((*batch.tokens.shape, self.fit.model.config.width), np.float32)
        states[:, : len(self.beginning)] = self.beginning
        for number, example in enumerate(batch.examples):
            row, column = batches.start(number, shape)
            states[row, column : column + batches.length(example)] = self.kept[batches][example]
        return Texts(jnp.asarray(states), _packing(batch))

    def _save(self, state: State) -> None:
        self.fit.checkpoint.save(replace(state, seconds=self.seconds))
        self.saved = time.monotonic()

    def _memory(self) -> int | None:
        now = resident_bytes()
        self.peak = now if self.peak is None else max(self.peak, now or 0)
        return self.peak

    def _report(self, stage: str, state: State) -> None:
        recent = state.losses[-SHOWN_STEPS:]
        left = None
        if state.step and state.losses:
            left = self.seconds / state.step * (self.steps - state.step)
            if self.fit.minutes is not None:
                left = min(left, max(0.0, 60 * self.fit.minutes - self.seconds))
        self.fit.on_progress(
            FitProgress(
                stage,
                state.step,
                self.steps,
                sum(recent) / len(recent) if recent else None,
                state.evaluations[-1] if state.evaluations else None,
                left,
                self._memory(),
            )
        )


def _packing(batch: Batch) -> Packing:
    return Packing(jnp.asarray(batch.positions), jnp.asarray(batch.texts))


def _replies(batch: Batch) -> Replies:
    return Replies(*map(jnp.asarray, (batch.places, batch.targets, batch.weights, batch.allowed)))
