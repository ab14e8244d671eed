"""Tunings of a small project on a scripted model whose answers are a function of what is asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from promptkit.evaluation.cells.saver import ReplyCache
from promptkit.evaluation.suite.reader import load_suite
from promptkit.evaluation.suite.suite import Suite
from promptkit.runtimes.base import Request, Runtime
from promptkit.runtimes.models import Models
from promptkit.runtimes.scripted import Script, Scripted, request_text
from promptkit.storage.files import frozen_files
from promptkit.storage.store import Store
from promptkit.tuning.options import Limits, TuneOptions
from promptkit.tuning.run import TuningResult
from promptkit.tuning.tune import Tuning
from promptkit.tuning.weights.trainer import Trainer
from tests.engine.helpers import Folder
from tests.evaluation.suites import Bench, Given

PROMPT = """
---
inputs: {text: {}}
answer: {label: [good, bad]}
decide: generate
cue: none
---
{% block instructions %}Say whether it is good or bad.{% endblock %}
{% block input %}{{ text }}{% endblock %}
"""


def rows(count: int) -> list[dict[str, Any]]:
    """Return so many rows, each with a word and a number of its own; half are good."""
    labels = ["good", "bad"]
    return [{"text": f"row {number} was {labels[number % 2]}", "expect": labels[number % 2]} for number in range(count)]


def row_of(request: Request) -> int:
    """Return the number of the row that is asked: the last that stands in what is asked."""
    return int(re.findall(r"(?i)row (\d+) was", request_text(request))[-1])


def truth(number: int) -> str:
    """Return the right answer to a row."""
    return ["good", "bad"][number % 2]


def luck(number: int, share: float, salt: str = "") -> bool:
    """Tell whether a row is among a share of all, the same ones each time."""
    from hashlib import blake2b

    digest = blake2b(f"{salt}{number}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 2**32 < share


def right_where(share_of: Callable[[str], float], salt: str = "") -> Callable[[Request], str]:
    """Return a script that is right on so large a share of rows as the text of what is asked says.

    A row that is right at some share is right at each larger one.
    """

    def answer(request: Request) -> str:
        number, text = row_of(request), request_text(request)
        wrong = {"good": "bad", "bad": "good"}
        right = truth(number)
        return right if luck(number, share_of(text), salt) else wrong[right]

    return answer


@dataclass
class Ran:
    """A tuning that ended, with what its model was asked."""

    tuned: TuningResult
    tuning: Tuning
    runtime: Scripted

    @property
    def record(self) -> Mapping[str, Any]:
        return self.tuned.record.to_json()


class TuneBench(Bench):
    """A folder with a target to tune, `count` rows and a suite."""

    def __init__(self, folder: Folder, count: int = 100, *, prompt: str = PROMPT) -> None:
        super().__init__(folder, rows(count))
        folder.write("templates/prompts/mood.j2", prompt)

    @property
    def target(self) -> Path:
        return self.folder.root / "pipelines/mood.yaml"

    def start(self, text: str | None = None, *, target: Path | None = None) -> Suite:
        """Write the suite and read it with the target as its start."""
        file = self.folder.write("evals/test.yaml", text) if text else self.suite().file
        return load_suite(file, self.folder.project, start=target or self.target)

    async def tune(
        self,
        script: Script | Scripted,
        *,
        text: str | None = None,
        target: Path | None = None,
        store: Path | None = None,
        others: Mapping[str, Runtime] | None = None,
        open_trainers: Callable[[Models], Sequence[Trainer]] = lambda models: (),
        **options: Any,
    ) -> Ran:
        """Tune on a model that answers by `script`, in the folder's store.

        `calls` is short for the limits. `others` are further models by their references, `open_trainers` what trains
        weights.
        """
        if (calls := options.pop("calls", None)) is not None:
            options["limits"] = Limits(calls=calls)
        runtime = script if isinstance(script, Scripted) else Scripted(script)
        with Store.open(store or self.store_folder) as kept, ReplyCache(kept) as replies, frozen_files():
            suite = self.start(text, target=target)
            tuning = Tuning(
                suite,
                models=Given(runtime, replies, others=others),
                store=kept,
                options=TuneOptions(**options),
                open_trainers=open_trainers,
            )
            result = await tuning.run()
        return Ran(result, tuning, runtime)


def texts(runtime: Scripted) -> Sequence[str]:
    """Return the requests, in order."""
    return [request_text(request) for request in runtime.requests]


NO_LIMIT = inf
