"""Checkpoints that a killed training resumes from: one file a training, named by all that decides its result."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import jax
import numpy as np

from promptkit.errors import InputError, StoreFailed
from promptkit.storage.files import make_folder, read_uncached, remove_file, write_atomic
from promptkit.training.fitting.objective import Parameters
from promptkit.training.fitting.settings import Evaluation

FOLDER: Final = Path(".promptkit") / "training"
MOST_KEPT: Final = 8
"""Checkpoints of other trainings that stay, the newest ones."""


@dataclass(frozen=True, slots=True)
class State:
    """All that a training goes on from. Pytrees have the structure that the training makes anew."""

    step: int
    parameters: Parameters
    best: Parameters
    optimizer: Any
    losses: tuple[float, ...]
    evaluations: tuple[Evaluation, ...]
    seconds: float


class Checkpoint:
    """The checkpoint of one training, at `FOLDER/KEY.npz` of the project."""

    def __init__(self, root: Path, key: str) -> None:
        self.file = root / FOLDER / f"{key}.npz"

    def save(self, state: State) -> None:
        """Write the state in place of an earlier one, atomically. Raises StoreFailed."""
        make_folder(self.file.parent)
        trees = (state.parameters, state.best, state.optimizer)
        leaves = {str(at): np.asarray(leaf) for at, leaf in enumerate(jax.tree.leaves(trees))}
        facts = {
            "step": state.step,
            "losses": state.losses,
            "evaluations": [asdict(evaluation) for evaluation in state.evaluations],
            "seconds": state.seconds,
        }
        content = io.BytesIO()
        np.savez(content, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **leaves)  # type: ignore[arg-type]
        write_atomic(self.file, content.getvalue())

    def load(self, parameters: Parameters, optimizer: Any) -> State | None:
        """Return the saved state, None where there is none that fits. The arguments have the trees' structure."""
        structure = (parameters, parameters, optimizer)
        wanted = jax.tree.leaves(structure)
        try:
            with np.load(io.BytesIO(read_uncached(self.file)), allow_pickle=False) as saved:
                facts = json.loads(saved["facts"].tobytes())
                leaves = [saved[str(at)] for at in range(len(wanted))]
            evaluations = tuple(
                Evaluation(int(found["step"]), float(found["loss"]), tuple(map(bool, found["right"])))
                for found in facts["evaluations"]
            )
            state = int(facts["step"]), tuple(map(float, facts["losses"])), float(facts["seconds"])
        except (InputError, OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None
        if not evaluations or any(leaf.shape != other.shape for leaf, other in zip(leaves, wanted, strict=True)):
            return None
        as_arrays = [jax.numpy.asarray(leaf, other.dtype) for leaf, other in zip(leaves, wanted, strict=True)]
        found, best, optimizer = jax.tree.unflatten(jax.tree.structure(structure), as_arrays)
        return State(state[0], found, best, optimizer, state[1], evaluations, state[2])

    def remove(self) -> None:
        """Remove it, and all but the newest checkpoints of other trainings."""
        try:
            if self.file.exists():
                remove_file(self.file)
            others = sorted(self.file.parent.glob("*.npz"), key=lambda file: file.stat().st_mtime, reverse=True)
            for file in others[MOST_KEPT:]:
                remove_file(file)
        except (OSError, StoreFailed):
            return  # What stays costs some megabytes, and the adapter is written.
