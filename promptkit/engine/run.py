"""Running a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptkit.engine.events import OnEvent
from promptkit.engine.results import Result

if TYPE_CHECKING:
    from promptkit.engine.pipeline import Pipeline
    from promptkit.runtimes import Models
    from promptkit.storage import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to run. `model` is the command line's and beats every file's; `repairs` holds where a step does not say.

    `sample` numbers repeated runs of one row, so that they are different samples. `kind` is the run's in the store.
    """

    model: str | None = None
    strict: bool = False
    repairs: int = 1
    sample: str = "0"
    kind: str = "run"


async def run(
    pipeline: Pipeline,
    inputs: Mapping[str, Any],
    *,
    models: Models,
    settings: Settings | None = None,
    on_event: OnEvent | None = None,
    store: Store | None = None,
) -> Result:
    """Run a pipeline once; independent steps and items at once, up to what the runtimes take.

    What stops the run is in `result.error` with all that was finished; raised are only InputError and Unsupported,
    before the first request (missing inputs, a model that cannot do what a step asks). With a `store`, the run and
    its calls are kept there. Cancelling stops all generation.
    """
    raise NotImplementedError
