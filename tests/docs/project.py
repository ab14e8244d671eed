"""The files of a page as a project, each checked as what it is."""

from __future__ import annotations

import tomllib
from pathlib import Path

from promptkit.engine.load import load_target
from promptkit.errors import InputError
from promptkit.evaluation.suite.reader import load_suite
from promptkit.project import Project
from promptkit.prompts.messages import compose
from promptkit.runtimes.scripted import load_script
from promptkit.storage.files import SETTINGS_FILE
from promptkit.storage.rows import read_rows
from promptkit.storage.yaml import load_file
from promptkit.techniques.registry import find_technique


def problems_of(folder: Path) -> dict[Path, list[str]]:
    """Return what is wrong in each file of a project."""
    return {path: _problems(path, folder) for path in sorted(folder.rglob("*")) if path.is_file()}


def _problems(path: Path, folder: Path) -> list[str]:
    try:
        project = Project.find(folder)
        if path.suffix == ".py":
            compile(path.read_text("utf-8"), str(path), "exec")
        elif path.suffix == ".toml":
            tomllib.loads(path.read_text("utf-8"))
        elif path.suffix in (".jsonl", ".csv"):
            list(read_rows(path))
        elif path.suffix == ".json" or path.name == "promptfooconfig.yaml":
            load_file(path)
        elif "layouts" in path.parts:
            compose({"instructions": "Do.", "input": "This."}, layout=path, continues=False, system_role=True)
        elif "techniques" in path.parts:
            assert find_technique(path.parent.name, project) is not None
        elif path.suffix == ".j2" or "pipelines" in path.parts:
            load_target(path, project)
        elif path.suffix in (".yaml", ".yml") and "evals" in path.parts:
            load_suite(path, project).data.count()
        elif ".github" in path.parts or path.name == ".pre-commit-config.yaml":
            load_file(path)
        elif path.name != SETTINGS_FILE:
            load_script(path, f"scripted:{path}")
    except InputError as error:
        return [str(problem) for problem in error.problems]
    return []
