"""`promptkit.tune`: a tuning as one call from Python, which ends in what `promptkit tune --json` prints."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptkit.engine import default_model
from promptkit.errors import InputError
from promptkit.evaluation import Replies, Suite
from promptkit.runtimes import Models
from promptkit.storage import Store, holding_files
from promptkit.tuning.handing_over import hand_over
from promptkit.tuning.opening import load_tuned, models_apart
from promptkit.tuning.tune import Tuning
from promptkit.tuning.wishes import Limits, Mode, Optimizer, Wishes, read_budget, read_only
from promptkit.tuning.write import check_replaceable

if TYPE_CHECKING:
    from promptkit.tuning.work import Tuned


def tune(
    pipeline: str | Path,
    suite: str | Path | None = None,
    *,
    budget: str | None = None,
    optimizer: Optimizer = "race",
    only: Sequence[str] = (),
    teacher: str | None = None,
    mode: Mode = "both",
    prefer: str = "best",
    metric: str | None = None,
    seed: int = 0,
    model: str | None = None,
    sets: Sequence[str] = (),
    write: bool = True,
    apply: bool = False,
) -> dict[str, Any]:
    """Tune a pipeline or a prompt on a suite, and return the record that `promptkit tune --json` prints.

    All is said as on the command line: both are names or paths, `suite` is left out where one of the project names the
    pipeline; `budget` as "calls=300,minutes=10"; `sets` as "STEP.KEY=VALUE". What is found is written beside the
    original, which `apply` replaces where the verdict is `improved`; without `write` the files stay as they are, and
    the record has the diff. Nobody is asked whether to begin: `smallest_shown` of the record is the gain that could be
    shown. It blocks, for it runs an event loop of its own.

    Raises InputError before anything is asked, and what ended the tuning before it was through (RuntimeFailure,
    StoreFailed, KeyboardInterrupt): what was answered is kept, and the same call goes on from there.
    """
    _check_thread()
    if apply and not write:
        raise InputError("`apply` replaces the original, and `write=False` leaves it", hint="leave one of them out")
    wishes = Wishes(
        limits=read_budget(budget) if budget is not None else Limits(),
        optimizer=optimizer,
        only=read_only(only) if isinstance(only, str) else tuple(only),
        teacher=teacher,
        mode=mode,
        prefer=prefer,
        metric=metric,
        seed=seed,
    )
    changes = [sets] if isinstance(sets, str) else sets
    with holding_files():
        found = load_tuned(str(pipeline), None if suite is None else str(suite), sets=changes)
    if apply:
        check_replaceable(found.wanted.target, found.project)
    tuned = asyncio.run(_tuned(found, wishes, model=model, write=write, in_place=apply))
    if tuned.failure is not None:
        raise tuned.failure
    return dict(tuned.record)


def _check_thread() -> None:
    """Raise InputError where an event loop runs already: a notebook's, or that of the coroutine that calls."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    told = "promptkit.tune runs an event loop of its own, and one runs here already"
    raise InputError(told, hint="await asyncio.to_thread(promptkit.tune, …), in a notebook too")


async def _tuned(suite: Suite, wishes: Wishes, *, model: str | None, write: bool, in_place: bool) -> Tuned:
    """Tune in the project's store, and hand over what was found."""
    pipeline, settings = suite.baseline.pipeline, suite.project.settings
    reference, why, base = default_model(suite.project, pipeline, model)
    with Store.open(suite.project.store_folder, cache_size=settings.cache.size) as store, Replies(store) as replies:
        async with Models(
            reference,
            why=why,
            store=replies,
            concurrency=suite.concurrency or settings.concurrency,
            timeout=settings.timeout,
            base=base,
            apart=models_apart(suite, wishes.teacher),
        ) as models:
            tuning = Tuning(suite, models=models, store=store, wishes=wishes)
            tuned = await tuning.run()
            return hand_over(tuned, tuning.suite, store, in_place=in_place, writing=write)
