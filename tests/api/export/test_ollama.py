"""`promptkit export ollama`: a folder, or models of an Ollama server over HTTP; and adapters in an exported folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptkit.runtimes.in_process.gguf_contents import read_contents
from promptkit.runtimes.in_process.weights import file_digest
from promptkit.training.gguf_copies import write_copy
from tests.adapters import write_adapter
from tests.command import Done, run_command
from tests.runtimes.servers.ollama_server import FakeModel, Fault, OllamaServer
from tests.training.tiny_gguf import TinyShape, write_tiny

PIPELINE = """\
name: mails
inputs: {mail: {type: text, example: Where is it?}}
model: "gguf:../tiny.gguf"
steps:
  sort:
    prompt: {instructions: "Which topic?", input: "{{ mail }}"}
    answer: {label: [delivery, payment]}
    adapter: mails.sort.lora.gguf
"""
MOOD = """\
  mood:
    prompt: {instructions: "Which mood?", input: "{{ mail }}"}
    answer: {label: [good, bad]}
    options: {temperature: 0.5}
    adapter: mails.mood.lora.gguf
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a pipeline of one step on a tiny model, and adapters for it and one more."""
    shape = TinyShape(layers=1, width=32, inner=32, heads=2, kv_heads=1, head_size=16)
    model = write_tiny(tmp_path / "tiny.gguf", shape=shape)
    (tmp_path / "promptkit.yaml").touch()
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines/mails.yaml").write_text(PIPELINE)
    for seed, step in enumerate(("sort", "mood")):
        file = tmp_path / f"pipelines/mails.{step}.lora.gguf"
        write_adapter(file, model, seed=seed, training={"base": file_digest(model)})
    return tmp_path


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    with OllamaServer(FakeModel("tiny"), version="0.34.1") as server:
        yield server


def export(project: Path, *arguments: str, host: str = "127.0.0.1:9") -> Done:
    return run_command("export", "ollama", "mails", *arguments, folder=project, variables={"OLLAMA_HOST": host})


def merged(project: Path, step: str = "sort") -> bytes:
    copy = project / "copy.gguf"
    write_copy(project / "tiny.gguf", copy, adapter=project / f"pipelines/mails.{step}.lora.gguf")
    return copy.read_bytes()


def test_a_folder_has_a_modelfile_and_the_copy_of_the_base_with_the_adapter_merged(project: Path) -> None:
    done = export(project, "--name", "me/mails:1")
    assert done.code == 0, done.err
    assert done.out == "me_mails_1/Modelfile\nsort: {model: ollama/me/mails:1}\n"
    assert "ollama create me/mails:1 -f me_mails_1/Modelfile" in done.err
    folder = project / "me_mails_1"
    assert (folder / "Modelfile").read_text() == "FROM ./mails.sort.merged.gguf\nPARAMETER temperature 0\n"
    assert (folder / "mails.sort.merged.gguf").read_bytes() == merged(project)


def test_each_step_with_an_adapter_becomes_a_model(project: Path) -> None:
    (project / "pipelines/mails.yaml").write_text(PIPELINE + MOOD)
    done = export(project, "--name", "mails", "--out", "made")
    assert done.code == 0, done.err
    assert done.out.endswith("sort: {model: ollama/mails-sort}\nmood: {model: ollama/mails-mood}\n")
    text = (project / "made/mood.Modelfile").read_text()
    assert text == "FROM ./mails.mood.merged.gguf\nPARAMETER temperature 0.5\n"
    assert sorted(file.name for file in (project / "made").iterdir()) == [
        "mails.mood.merged.gguf",
        "mails.sort.merged.gguf",
        "mood.Modelfile",
        "sort.Modelfile",
    ]


def test_a_base_of_ollama_is_named_beside_the_adapter(project: Path) -> None:
    done = export(project, "--name", "mails", "--model", "ollama/tiny")
    assert done.code == 0, done.err
    text = (project / "mails/Modelfile").read_text()
    assert "Ollama takes no adapters since 0.34.1: --model names the base" in done.err
    assert text == "FROM tiny\nADAPTER ./mails.sort.lora.gguf\nPARAMETER temperature 0\n"
    copy = (project / "mails/mails.sort.lora.gguf").read_bytes()
    assert copy == (project / "pipelines/mails.sort.lora.gguf").read_bytes()


def test_the_server_gets_the_merged_copy_once_and_a_model_of_the_name_is_replaced(
    project: Path, server: OllamaServer
) -> None:
    for _ in range(2):
        done = export(project, "--name", "tiny", "--create", host=server.url)
        assert done.code == 0, done.err
        assert "created: tiny" in done.err
        assert done.out == "sort: {model: ollama/tiny}\n"
    content = merged(project)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert server.blobs == {digest: content}
    assert [seen.path for seen in server.requests].count(f"/api/blobs/{digest}") == 3
    created = server.created["tiny:latest"]
    assert created["files"] == {"mails.sort.merged.gguf": digest}
    assert created["parameters"] == {"temperature": 0.0}
    assert not created.keys() & {"adapters", "from"}
    assert not (project / "tiny").exists()


def test_an_older_server_creates_a_model_of_its_own_with_the_adapter(project: Path) -> None:
    with OllamaServer(FakeModel("tiny"), version="0.33.0") as server:
        done = export(project, "--name", "mails", "--model", "ollama/tiny", "--create", host=server.url)
    assert done.code == 0, done.err
    created = server.created["mails:latest"]
    digest = f"sha256:{file_digest(project / 'pipelines/mails.sort.lora.gguf')}"
    assert (created["from"], created["adapters"]) == ("tiny", {"mails.sort.lora.gguf": digest})


def test_a_server_that_takes_no_adapters_is_an_error_with_what_would_do(project: Path, server: OllamaServer) -> None:
    done = export(project, "--name", "mails", "--model", "ollama/tiny", "--create", host=server.url)
    assert done.code not in (0, 2)
    assert "LoRA adapters are no longer supported" in done.err
    assert "--model names the base as gguf:PATH or embedded/NAME" in done.err
    assert "created" not in done.err


@pytest.mark.parametrize("path", ["/api/create", "blob"])
def test_what_the_server_says_of_a_failure_is_shown(project: Path, server: OllamaServer, path: str) -> None:
    digest = hashlib.sha256(merged(project)).hexdigest()
    at = path if path != "blob" else f"/api/blobs/sha256:{digest}"
    server.faults += [Fault(at, 507, "no space left on device")]
    done = export(project, "--name", "mails", "--create", host=server.url)
    assert done.code not in (0, 2)
    assert "created" not in done.err
    assert "507" in done.err or "no space left on device" in done.err


def test_a_base_that_the_server_does_not_have_is_an_error(project: Path) -> None:
    with OllamaServer(version="0.33.0") as server:
        done = export(project, "--name", "mails", "--model", "ollama/none", "--create", host=server.url)
    assert done.code not in (0, 2)
    assert "pull model manifest: file does not exist" in done.err


def test_no_server_and_a_base_that_does_not_fit_are_errors(project: Path) -> None:
    assert export(project, "--name", "mails", "--create").code == 3
    shape = TinyShape(layers=1, width=32, inner=48, heads=2, kv_heads=1, head_size=16)
    write_tiny(project / "other.gguf", shape=shape)
    done = export(project, "--name", "mails", "--model", "gguf:other.gguf")
    assert done.code == 2
    assert "gguf:other.gguf has it as 32 × 48" in done.err
    assert not (project / "mails").exists()


def test_a_target_without_adapters_is_an_error_that_names_the_pipeline_within_that_has_one(project: Path) -> None:
    (project / "pipelines/outer.yaml").write_text(
        "inputs: {mail: {example: hi}}\nsteps:\n  first: {pipeline: mails, with: {mail: '{{ mail }}'}}\n"
    )
    done = run_command("export", "ollama", "outer", "--name", "x", folder=project)
    assert done.code == 2
    assert "no step of `outer` has an adapter\n  hint: a pipeline within has: promptkit export ollama mails" in done.err
    (project / "pipelines/mails.yaml").write_text(PIPELINE.replace("    adapter: mails.sort.lora.gguf\n", ""))
    assert "hint: train one: promptkit train mails --adapter" in export(project, "--name", "x").err


def test_an_exported_folder_has_the_adapter(project: Path) -> None:
    done = run_command("export", "folder", "mails", "made", folder=project)
    assert done.code == 0, done.err
    name = "pipelines/mails.sort.lora.gguf"
    assert (project / "made" / name).read_bytes() == (project / name).read_bytes()
    assert not (project / "made/pipelines/mails.mood.lora.gguf").exists()
    assert read_contents(project / "made" / name).text("general.type") == "adapter"
