"""Roles: the inputs that a technique must know, such as the question or the table, and the inputs that play them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from promptkit.errors import InputError
from promptkit.prompts.front_matter import PromptInput

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "question": ("text",),
    "context": ("text", "list"),
    "table": ("table",),
    "target": ("text",),
    "documents": ("list",),
    "glossary": ("json", "list", "table"),
    "guideline": ("text",),
    "wordings": ("list",),
}
"""All roles, with the types of input that can play each."""

SECTION: Final = "question"
"""The role that the whole input section plays if no input does."""

OPTIONAL: Final = "?"


@dataclass(frozen=True, slots=True)
class Role:
    """A role of a technique. An optional one is played only by an input of its name, or one that the step binds."""

    name: str
    optional: bool = False

    @classmethod
    def parse(cls, text: str) -> Role:
        """Return the role that a text declares: `question`, or `context?` for an optional one. Raises ValueError."""
        name = text.removesuffix(OPTIONAL)
        if name not in KINDS:
            raise ValueError(f"there is no role `{name}`; roles are {', '.join(KINDS)}")
        return cls(name, text.endswith(OPTIONAL))


def bind(roles: Collection[Role], given: Mapping[str, str], inputs: Mapping[str, PromptInput]) -> dict[str, str | None]:
    """Return the input that plays each role, None where none does; for `question` that means the input section.

    A role is played by the input that the step binds (`given`), else by an input of its name, else by the only
    remaining input of its types. Raises InputError with the inputs, but without a place, for a required role that no
    input plays.
    """
    bound: dict[str, str | None] = {name: given[name] for name in (role.name for role in roles) if name in given}
    for role in roles:
        if role.name in inputs:
            bound.setdefault(role.name, role.name)
    for role in sorted(roles, key=lambda role: role.name != SECTION):  # The question is the likeliest to be an input.
        if role.name in bound:
            continue
        left = [name for name in inputs if name not in bound.values() and kind_of(inputs[name]) in KINDS[role.name]]
        if len(left) == 1 and not role.optional:
            bound[role.name] = left[0]
        elif role.optional or role.name == SECTION:
            bound[role.name] = None
        else:
            kinds = " or ".join(KINDS[role.name])
            message = f"no input plays the role `{role.name}` ({kinds}); the inputs are {', '.join(inputs) or 'none'}"
            raise InputError(message, hint=f"`{role.name}: INPUT` with the technique says which one does")
    return bound


def kind_of(spec: PromptInput) -> str:
    """Return the type of an input: the stated one, else that of its default or example."""
    if spec.type:
        return spec.type
    value = spec.default if spec.default is not None else spec.example
    if isinstance(value, list):
        return "table" if value and all(isinstance(row, Mapping) for row in value) else "list"
    kinds: dict[type, str] = {bool: "boolean", int: "number", float: "number", dict: "json"}
    return kinds.get(type(value), "text")
