"""The prompts made by a search as files that a person keeps, and the diff of a tuning run."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from difflib import unified_diff
from itertools import count
from pathlib import Path
from typing import Final

from promptkit.engine.pipeline import Pipeline
from promptkit.errors import InputError, Problem, place
from promptkit.project import Project
from promptkit.prompts.load import Prompts
from promptkit.prompts.parsing import block_names
from promptkit.prompts.sections import BLOCKS
from promptkit.storage.files import read_bytes, read_text
from promptkit.tuning.prompt_edits import FOLDER, section_source

TUNED: Final = "tuned"
PROMPTS: Final = Path("templates") / "prompts"
_EXTENDS: Final = re.compile(r'\{%-?\s*extends\s+"([^"]+)"\s*-?%\}')
_MADE_BY: Final = "Made by promptkit tune of"


@dataclass(frozen=True, slots=True)
class TunedPrompt:
    """A prompt made by a search (`made`), with the file that it becomes, its text, and the prompt that it extends."""

    step: str
    made: Path
    file: Path
    parent: Path
    text: str


def tuned_prompts(pipeline: Pipeline, target: str, taken: Collection[Path]) -> Iterator[TunedPrompt]:
    """Yield the prompts of a pipeline that a search made, one for each step that has one, with their new files.

    `target` is the tuned target's name, which its files are marked with; `taken` are files that are not overwritten.
    Raises InputError.
    """
    made = pipeline.project.store_folder.resolve() / FOLDER
    ours = set(taken)
    for name, step in pipeline.steps.items():
        prompt = step.prompt
        if prompt is None or prompt.file is None or prompt.file.parent != made:
            continue
        tuned = _tuned_prompt(name, prompt.file, pipeline.project, target, ours)
        ours.add(tuned.file)
        yield tuned


def _tuned_prompt(step: str, made: Path, project: Project, target: str, taken: Collection[Path]) -> TunedPrompt:
    text = read_text(made)
    named = _EXTENDS.search(text)
    parent = named and project.find_prompt(named.group(1), beside=made)
    if named is None or parent is None:
        raise InputError(Problem("does not say which prompt it extends", place(made), hint="run the tuning again"))
    folder = parent.parent if project.owns(parent) else project.root.resolve() / PROMPTS
    stem = parent.stem.partition(f".{TUNED}")[0]
    file = free_file(folder, stem, ".j2", target, taken)
    reference = prompt_name(parent, folder, project)
    text = f'{text[: named.start()]}{{% extends "{reference}" %}}{text[named.end() :]}'
    return TunedPrompt(step, made, file, parent, f"{{# {made_by(target)} #}}\n{text}")


def prompt_name(file: Path, folder: Path, project: Project) -> str:
    """Return the name of a prompt for a file in `folder`: its own name if that resolves to it, otherwise its path."""
    # Resolved as from a file in the folder, which may not exist yet.
    if project.find_prompt(file.stem, beside=folder / file.name) == file:
        return file.stem
    return Path(os.path.relpath(file, folder.resolve())).as_posix()


def free_file(folder: Path, stem: str, ending: str, target: str, taken: Collection[Path]) -> Path:
    """Return the first free file of `STEM.tuned`, `STEM.tuned-2`, …: missing, or made by a tuning of `target`.

    A file that a person wrote, that was made of another target, or that is `taken`, is not free.
    """
    for number in count(1):
        suffix = TUNED if number == 1 else f"{TUNED}-{number}"
        file = folder / f"{stem}.{suffix}{ending}"
        if file not in taken and (not os.path.lexists(file) or _is_made_by(file, target)):
            return file
    raise AssertionError("unreachable: there is always a further number")


def made_by(target: str) -> str:
    """Return the line that marks a file as made by a tuning of a target."""
    return f"{_MADE_BY} {target}."


def _is_made_by(file: Path, target: str) -> bool:
    return file.is_file() and made_by(target).encode() in read_bytes(file).partition(b"\n")[0]


def text_diff(before: str, after: str, before_name: str, after_name: str) -> str:
    """Return a unified diff of two texts, empty if they are equal."""
    lines = unified_diff(before.splitlines(), after.splitlines(), before_name, after_name, lineterm="")
    return "".join(f"{line}\n" for line in lines)


def prompt_diff(prompt: TunedPrompt, project: Project) -> str:
    """Return the diff of a tuned prompt to the one that it extends, section by section."""
    prompts = Prompts(project)
    changed = block_names(prompt.text, prompt.file.name)
    names = [name for name in BLOCKS if name in changed]
    before, after = ("\n".join(_section_blocks(prompts, file, names)) for file in (prompt.parent, prompt.made))
    return text_diff(before, after, project.portable_name(prompt.parent), project.portable_name(prompt.file))


def _section_blocks(prompts: Prompts, file: Path, names: Iterable[str]) -> Iterable[str]:
    prompt = prompts.load(file)
    for name in names:
        source = section_source(prompt, name)
        if source is not None:
            yield f"{{% block {name} %}}\n{source}\n{{% endblock %}}"
