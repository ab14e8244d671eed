"""A target as a folder that runs elsewhere, and as a container."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from promptkit.api.export.docker import export_docker
from promptkit.api.export.folder import export_folder
from promptkit.api.session import load
from promptkit.errors import InputError
from tests.command import run_command

FILES = {
    "promptkit.yaml": """\
model: scripted:models/replies.yaml
prices: {}
teacher: ollama/big
defaults: {layout: markdown}
""",
    "models/replies.yaml": "otherwise: '7'\n",
    "pipelines/sum.yaml": """\
about: Adds what a text says.
inputs: {text: {example: three and four}}
tools: {note: {function: ../tools.py:note, reads: ../data/rates.txt}}
steps:
  plan: {pipeline: inner, with: {text: "{{ text }}"}}
  said: {tool: note, with: {value: "{{ plan }}"}}
""",
    "pipelines/inner.yaml": """\
inputs: {text: {}}
steps:
  add: {prompt: adder, answer: number, technique: careful, examples: {file: ../data/examples.jsonl}}
""",
    "templates/prompts/adder.j2": '{% extends "base.j2" %}\n{% block input %}{{ text }}{% endblock %}\n',
    "templates/prompts/base.j2": "{% block instructions %}Add.{% endblock %}\n",
    "templates/techniques/careful/answer.j2": """\
---
about: Tell the model to be careful
produces: answer
---
{% extends prompt %}
{% block recap %}Be careful.{% endblock %}
""",
    "data/examples.jsonl": '{"input": {"text": "one and one"}, "output": 2}\n',
    "data/rates.txt": "euro",
    "data/secret.txt": "not needed",
    "tools.py": """\
import json

import numpy
import yaml
from helpers import unit


def note(value: float) -> str:
    return f"{value} {unit()}"
""",
    "helpers.py": """\
from pathlib import Path


def unit() -> str:
    return (Path(__file__).parent / "data" / "rates.txt").read_text()
""",
    "pipelines/unrelated.yaml": "steps:\n  a: {prompt: Say hello.}\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_a_folder_runs_alone_elsewhere(project: Path, tmp_path: Path) -> None:
    exported = run_command("export", "folder", "sum", str(tmp_path / "out"), folder=project)
    assert exported.code == 0, exported.err
    elsewhere = tmp_path / "elsewhere" / "copy"
    shutil.move(tmp_path / "out", elsewhere)
    shutil.rmtree(project)
    ran = run_command("run", "pipelines/sum.yaml", "text=2 and 5", "--json", folder=elsewhere)
    assert ran.code == 0, ran.err
    assert ran.json["output"] == "7 euro"


def test_a_folder_holds_what_the_target_needs_and_no_more(project: Path, tmp_path: Path) -> None:
    exported = export_folder(load(project / "pipelines" / "sum.yaml"), tmp_path / "out")
    found = {path.relative_to(tmp_path / "out").as_posix() for path in exported.files}
    assert found == {*FILES, "README.md", "requirements.txt"} - {"data/secret.txt", "pipelines/unrelated.yaml"}
    assert exported.target == "pipelines/sum.yaml"
    settings = (tmp_path / "out" / "promptkit.yaml").read_text()
    assert settings == "model: scripted:models/replies.yaml\ndefaults:\n  layout: markdown\n"
    names = [line.split("==")[0] for line in (tmp_path / "out" / "requirements.txt").read_text().splitlines()]
    assert names == ["promptkit", "PyYAML", "numpy"]
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "promptkit run pipelines/sum.yaml text=VALUE" in readme
    assert str(tmp_path) not in readme + settings


def test_a_model_of_a_pipeline_within_the_target_brings_its_extra(project: Path, tmp_path: Path) -> None:
    inner = project / "pipelines" / "inner.yaml"
    inner.write_text(inner.read_text().replace("technique:", "model: hf/someone/small/small.gguf, technique:"))
    export_folder(load(project / "pipelines" / "sum.yaml"), tmp_path / "out")
    assert (tmp_path / "out" / "requirements.txt").read_text().startswith("promptkit[hub]==")


@pytest.mark.parametrize(
    ("model", "written", "note"),
    [
        ("ollama/qwen2.5:1.5b", "model: ollama/qwen2.5:1.5b\n", "OLLAMA_HOST"),
        ("gguf:weights/small.gguf", "model: gguf:small.gguf\n", "put the weights small.gguf at small.gguf"),
        ("openai/gpt@http://127.0.0.1:9/v1", "model: openai/gpt@http://127.0.0.1:9/v1\n", "OPENAI_API_KEY"),
    ],
)
def test_the_model_is_a_reference_in_the_folder(
    project: Path, tmp_path: Path, model: str, written: str, note: str
) -> None:
    exported = export_folder(load(project / "pipelines" / "inner.yaml"), tmp_path / "out", model=model)
    assert (tmp_path / "out" / "promptkit.yaml").read_text().startswith(written)
    assert note in " ".join(exported.notes)


def test_servers_and_feeds_that_tools_use_are_copied_and_named_since_they_may_hold_secrets(
    project: Path, tmp_path: Path
) -> None:
    settings = project / "promptkit.yaml"
    servers = "mcp: {tickets: {command: [serve], env: {TOKEN: abc}}, other: {command: [other]}}\n"
    feeds = "feeds: {own: 'https://example.org/rss?key=abc', far: 'https://example.org/far'}\n"
    settings.write_text(settings.read_text() + servers + feeds)
    (project / "pipelines" / "ask.yaml").write_text(
        "allow: [network, writes]\nsteps: {a: {prompt: Say hello., tools: ['mcp:tickets/find', {news: [own]}]}}\n"
    )

    notes = export_folder(load(project / "pipelines" / "ask.yaml"), tmp_path / "out").notes
    assert {f"`{key}` of promptkit.yaml is copied: look for secrets" for key in ("mcp", "feeds")} <= set(notes)
    written = yaml.safe_load((tmp_path / "out" / "promptkit.yaml").read_text())
    assert (list(written["mcp"]), list(written["feeds"])) == (["tickets"], ["own"])

    export_folder(load(project / "pipelines" / "sum.yaml"), tmp_path / "unused")
    assert not {"mcp", "feeds"} & yaml.safe_load((tmp_path / "unused" / "promptkit.yaml").read_text()).keys()


def test_a_shipped_pipeline_is_named_and_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.delenv("PROMPTKIT_MODEL", raising=False)
    exported = export_folder(load("summarize"), tmp_path / "out")
    assert exported.target == "summarize"
    assert {path.name for path in exported.files} == {"promptkit.yaml", "README.md", "requirements.txt"}


def test_a_folder_with_files_is_left_alone(project: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(InputError, match="is not an empty folder"):
        export_folder(load(project / "pipelines" / "sum.yaml"), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_container_serves_the_target(project: Path, tmp_path: Path) -> None:
    exported = export_docker(load(project / "pipelines" / "sum.yaml"), tmp_path / "out")
    lines = (tmp_path / "out" / "Dockerfile").read_text().splitlines()
    [command] = [line.removeprefix("CMD ") for line in lines if line.startswith("CMD ")]
    assert json.loads(command)[:3] == ["promptkit", "serve", "pipelines/sum.yaml"]
    assert lines.index("USER promptkit") < lines.index(f"CMD {command}")
    assert ".promptkit" in (tmp_path / "out" / ".dockerignore").read_text().splitlines()
    assert "PROMPTKIT_SERVE_TOKEN" in (tmp_path / "out" / "README.md").read_text()
    assert tmp_path / "out" / "Dockerfile" in exported.files
