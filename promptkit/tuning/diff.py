"""What a tuning changes, as a person reads it: a unified diff of the pipeline and of the sections of its prompts."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING

from promptkit.project import LIBRARY, Project
from promptkit.prompts import BLOCKS, Prompts, block_names
from promptkit.tuning.edits import section_source

if TYPE_CHECKING:
    from promptkit.tuning.tuned_prompts import TunedPrompt


def text_diff(before: str, after: str, before_name: str, after_name: str) -> str:
    """Return a unified diff of two texts, empty where they are the same."""
    lines = unified_diff(before.splitlines(), after.splitlines(), before_name, after_name, lineterm="")
    return "".join(f"{line}\n" for line in lines)


def prompt_diff(prompt: TunedPrompt, project: Project) -> str:
    """Return what a tuned prompt says otherwise than the one that it extends, section by section."""
    prompts = Prompts(project)
    changed = block_names(prompt.text, prompt.file.name)
    names = [name for name in BLOCKS if name in changed]
    before, after = ("\n".join(_sections(prompts, file, names)) for file in (prompt.parent, prompt.made))
    return text_diff(before, after, stable_name(prompt.parent, project), stable_name(prompt.file, project))


def _sections(prompts: Prompts, file: Path, names: Iterable[str]) -> Iterable[str]:
    prompt = prompts.load(file)
    for name in names:
        source = section_source(prompt, name)
        if source is not None:
            yield f"{{% block {name} %}}\n{source}\n{{% endblock %}}"


def stable_name(file: Path, project: Project) -> str:
    """Return a file's path as it is the same wherever the project and promptkit lie."""
    for folder in (project.root.resolve(), LIBRARY):
        if file.resolve().is_relative_to(folder):
            return file.resolve().relative_to(folder).as_posix()
    return file.name
