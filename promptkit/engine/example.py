"""A technique's own example: its pipeline, run on replies written for it, so that its prompts can be seen."""

from __future__ import annotations

from pathlib import Path

from promptkit.engine.inputs import fill
from promptkit.engine.load import load_target
from promptkit.engine.results import Result
from promptkit.engine.run import run
from promptkit.engine.session import Settings
from promptkit.project import LIBRARY, TECHNIQUE_PIPELINES, Project
from promptkit.runtimes import Models
from promptkit.techniques import Technique

REPLIES = "replies.yaml"


def example_file(name: str, project: Project) -> Path | None:
    """Return the example pipeline of a technique, `pipelines/techniques/NAME.yaml`, None where there is none."""
    files = (folder / TECHNIQUE_PIPELINES / f"{name}.yaml" for folder in (project.root, LIBRARY))
    return next((file for file in files if file.is_file()), None)


async def example_run(technique: Technique, project: Project) -> Result | None:
    """Return the run of a technique's example, on the replies beside its templates; None where it has none.

    Raises InputError where the example is wrong.
    """
    file = example_file(technique.name, project)
    folder = project.find_template("techniques", technique.name)
    replies = folder / REPLIES if folder else None
    if file is None or replies is None or not replies.is_file():
        return None
    is_own = any(each.is_relative_to(project.root) for each in technique.files)  # It may stand before a shipped one.
    pipeline = load_target(file, project if is_own else Project.find(file))
    async with Models(f"scripted:{replies}", why="the example") as models:
        return await run(pipeline, fill(pipeline).values, models=models, settings=Settings(repairs=0))
