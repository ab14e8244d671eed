"""Questions over two or three hops through short passages, about invented people, towns and companies.

The rows are made from tables of facts by a fixed seed, so they are the same everywhere and no model has read them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SEED = 14
PASSAGES = 8
"""Passages of a row: those that the answer needs, and others of the same kind."""

PEOPLE = (
    *("Ada Brellin", "Tomas Kvell", "Ines Orlund", "Jonas Peralt", "Mira Solveig", "Karel Dunst", "Lea Winterby"),
    *("Oskar Thale", "Nora Vint", "Pavel Arden", "Greta Moln", "Simon Estrel", "Clara Hovde", "Rolf Aster"),
    *("Edda Linque", "Anton Reval", "Judit Sarn", "Milo Kestner", "Vera Torsby", "Hugo Balint"),
)
TOWNS = ("Tolve", "Kresby", "Almar", "Hundstal", "Perva", "Lunde", "Sorrin", "Vaxel", "Dornau", "Elmsted")
RIVERS = ("Alven", "Mirl", "Osk", "Tarna", "Brede", "Lisk", "Nevra", "Hale", "Sund", "Orra")
NOVELS = (
    *("The Salt Road", "A House of Reeds", "Seven Lanterns", "The Quiet Mill", "Winter Letters", "The Glass Orchard"),
    *("North of Nowhere", "The Tin Harbour", "A Year of Crows", "The Second Bell"),
)
COMPANIES = (
    *("Brightwell Clocks", "Norden Paper", "Hartmann Bicycles", "Vela Lamps", "Torsund Glass", "Kestrel Radios"),
    *("Orbis Maps", "Lindqvist Pianos", "Amber Soap", "Ferrum Tools"),
)


@dataclass(frozen=True, slots=True)
class World:
    """Invented facts: where and when each person was born, and who wrote or founded what."""

    birthplace: Mapping[str, str]
    birth_year: Mapping[str, int]
    river: Mapping[str, str]
    author: Mapping[str, str]
    founder: Mapping[str, str]

    def person(self, name: str) -> str:
        """Return the passage about a person."""
        return f"{name} was born in {self.birthplace[name]} in {self.birth_year[name]}, the child of a teacher."

    def town(self, name: str) -> str:
        """Return the passage about a town."""
        return f"{name} is a market town on the river {self.river[name]}. It has an old bridge and two churches."

    def novel(self, title: str) -> str:
        """Return the passage about a novel."""
        return f"{title} is a novel by {self.author[title]}. It sold few copies at first."

    def company(self, name: str) -> str:
        """Return the passage about a company."""
        return f"{name} was founded by {self.founder[name]}, who led the company until old age."


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its answer and the passages that it needs."""

    text: str
    answer: str
    passages: tuple[str, ...]


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Yield rows with the fields `question`, `documents` (passages in any order) and `answer`."""
    chance = random.Random(SEED)
    for number in range(count):
        world = _world(chance)
        question = KINDS[number % len(KINDS)](world, chance)
        others = [text for text in _passages(world) if text not in question.passages]
        shown = [*question.passages, *chance.sample(others, PASSAGES - len(question.passages))]
        chance.shuffle(shown)
        yield {"question": question.text, "documents": shown, "answer": question.answer}


def _world(chance: random.Random) -> World:
    """Return facts drawn anew, so that no answer can be learnt from another row."""
    people = chance.sample(PEOPLE, len(PEOPLE))
    years = chance.sample(range(1790, 1930), len(people))
    writers, founders = people[: len(NOVELS)], people[len(NOVELS) :]
    return World(
        birthplace=dict(zip(people, chance.choices(TOWNS, k=len(people)), strict=True)),
        birth_year=dict(zip(people, years, strict=True)),
        river=dict(zip(TOWNS, chance.sample(RIVERS, len(TOWNS)), strict=True)),
        author=dict(zip(NOVELS, writers, strict=True)),
        founder=dict(zip(COMPANIES, founders, strict=True)),
    )


def _passages(world: World) -> list[str]:
    parts: Sequence[tuple[Callable[[str], str], Sequence[str]]] = (
        (world.person, PEOPLE),
        (world.town, TOWNS),
        (world.novel, NOVELS),
        (world.company, COMPANIES),
    )
    return [passage(name) for passage, names in parts for name in names]


def _river(world: World, chance: random.Random) -> Question:
    title = chance.choice(NOVELS)
    author = world.author[title]
    town = world.birthplace[author]
    return Question(
        f"On which river lies the town where the author of {title} was born?",
        world.river[town],
        (world.novel(title), world.person(author), world.town(town)),
    )


def _year(world: World, chance: random.Random) -> Question:
    company = chance.choice(COMPANIES)
    founder = world.founder[company]
    return Question(
        f"In which year was the founder of {company} born?",
        str(world.birth_year[founder]),
        (world.company(company), world.person(founder)),
    )


def _town(world: World, chance: random.Random) -> Question:
    title = chance.choice(NOVELS)
    author = world.author[title]
    return Question(
        f"In which town was the author of {title} born?",
        world.birthplace[author],
        (world.novel(title), world.person(author)),
    )


def _earlier(world: World, chance: random.Random) -> Question:
    title, company = chance.choice(NOVELS), chance.choice(COMPANIES)
    author, founder = world.author[title], world.founder[company]
    return Question(
        f"Who was born earlier, the author of {title} or the founder of {company}?",
        min(author, founder, key=world.birth_year.__getitem__),
        (world.novel(title), world.person(author), world.company(company), world.person(founder)),
    )


KINDS = (_river, _year, _earlier, _town)
