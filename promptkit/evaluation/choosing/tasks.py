"""The tasks of language processing, and which techniques suit each: the table `tasks.yaml` beside this module."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from promptkit.errors import InputError, near
from promptkit.storage import load_file, read_model

TABLE = Path(__file__).with_name("tasks.yaml")

Suits = Literal["best", "best_on", "fallback", "applied"]
POINTS: dict[Suits, int] = {"best": 3, "best_on": 2, "fallback": 2, "applied": 1}
CONFIRMED = "P"


class SuitedTask(BaseModel):
    """A task: what was best on it, what was best on some of its data, what is cheap, and what else was tried.

    `confirmed` are the techniques whose own paper's figures were checked; `basis` is where the other entries come from.
    `brings` are the roles that an input of such a task plays by its nature.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    synonyms: tuple[str, ...] = ()
    brings: tuple[str, ...] = ()
    best: tuple[str, ...] = ()
    best_on: dict[str, str] = {}
    fallback: tuple[str, ...] = ()
    applied: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    basis: str = ""

    def suits(self, technique: str) -> Suit | None:
        """Return how a technique suits the task, by the most that can be said of it; None where nothing can."""
        basis = CONFIRMED if technique in self.confirmed else self.basis
        if technique in self.best:
            return Suit("best", basis=basis)
        if technique in self.best_on:
            return Suit("best_on", self.best_on[technique], basis)
        if technique in self.fallback:
            return Suit("fallback", basis=basis)
        return Suit("applied", basis=basis) if technique in self.applied else None

    def candidates(self) -> tuple[str, ...]:
        """Return the techniques that suit the task in any way."""
        return tuple(dict.fromkeys((*self.best, *self.best_on, *self.fallback, *self.applied)))


@dataclass(frozen=True, slots=True)
class Suit:
    """How a technique suits a task; `on` is the data or the condition of a best result that is tied to one."""

    kind: Suits
    on: str = ""
    basis: str = ""

    @property
    def points(self) -> int:
        return POINTS[self.kind]

    @property
    def confirmed(self) -> bool:
        return self.basis == CONFIRMED

    def __str__(self) -> str:
        said = {
            "best": "reported best on this task",
            "best_on": f"reported best on {self.on}",
            "fallback": "what a small model can afford on this task",
            "applied": "was tried on this task",
        }[self.kind]
        return f"{said} ({'its own paper, checked' if self.confirmed else f'basis {self.basis}'})"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: dict[str, SuitedTask]


@cache
def tasks() -> dict[str, SuitedTask]:
    """Return every task by its key, in the order of the table."""
    return read_model(load_file(TABLE), _Table).tasks


def find_task(name: str, *, others: Iterable[str] = ()) -> tuple[str, SuitedTask]:
    """Return the task of a key or a synonym, hyphens as underscores.

    Raises InputError with the nearest name, one of `others` too, or with all tasks.
    """
    wanted = name.strip().lower().replace("-", "_").replace(" ", "_")
    for key, task in tasks().items():
        if wanted == key or wanted in task.synonyms:
            return key, task
    known = [*others, *tasks(), *(synonym for task in tasks().values() for synonym in task.synonyms)]
    hint = near(wanted, known) or f"tasks: {', '.join(tasks())}"
    raise InputError(f"there is no task `{name}`", hint=hint)
