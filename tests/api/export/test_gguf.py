"""A copy of a model's weights from the command line: an adapter merged, quantised, or both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from promptkit.runtimes.in_process.gguf_contents import read_contents
from promptkit.runtimes.in_process.weights import file_digest
from promptkit.training.lora_files import write_lora
from tests.command import Done, run_command
from tests.training.llama_answers import LlamaAnswers
from tests.training.test_lora_files import Pair
from tests.training.tiny_gguf import vocabulary, write_tiny

PIPELINE = """\
name: mails
inputs: {mail: {type: text, example: Where is it?}}
model: "gguf:../tiny.gguf"
steps:
  sort: {prompt: {instructions: "Which topic?", input: "{{ mail }}"}, answer: {label: [delivery, payment]}}
  mood: {prompt: {instructions: "Which mood?", input: "{{ mail }}"}, answer: {label: [good, bad]}}
"""
TOKENS = [20, 60, 110, 200, 9]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a pipeline of two steps on a tiny model, and an adapter for the first."""
    write_tiny(tmp_path / "tiny.gguf")
    (tmp_path / "promptkit.yaml").touch()
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines/mails.yaml").write_text(PIPELINE)
    write_adapter(tmp_path / "pipelines/mails.sort.lora.gguf", base=file_digest(tmp_path / "tiny.gguf"))
    return tmp_path


def write_adapter(path: Path, *, base: str, seed: int = 0) -> None:
    random = np.random.default_rng(seed)
    factors = (random.normal(size=size, scale=0.1).astype(np.float32) for size in ((3, 4, 64), (3, 128, 4)))
    write_lora(path, "llama", {"ffn_up": Pair(*factors)}, scale=2.0, training={"base": base})


def export(project: Path, *arguments: str) -> Done:
    return run_command("export", "gguf", *arguments, folder=project)


def answer(path: Path, adapter: Path | None = None) -> np.ndarray[Any, Any]:
    return LlamaAnswers(path, adapter).log_probabilities(TOKENS, len(vocabulary()))


def test_the_copy_of_a_step_answers_as_its_model_with_the_adapter(project: Path) -> None:
    done = export(project, "mails", "sorted.gguf", "--step", "sort")
    assert (done.code, done.out) == (0, "sorted.gguf\n")
    assert "writing sorted.gguf" in done.err
    assert "gguf:tiny.gguf with mails.sort.lora.gguf merged: 0.5 MB, the original 0.5 MB" in done.err
    assert "next: --model gguf:sorted.gguf" in done.err
    adapted = answer(project / "tiny.gguf", project / "pipelines/mails.sort.lora.gguf")
    assert answer(project / "sorted.gguf") == pytest.approx(adapted, abs=1e-3)
    assert np.abs(adapted - answer(project / "tiny.gguf")).max() > 0.1


def test_the_only_step_with_an_adapter_needs_no_name(project: Path) -> None:
    assert export(project, "mails", "named.gguf", "--step", "sort").code == 0
    assert export(project, "mails", "found.gguf").code == 0
    assert (project / "found.gguf").read_bytes() == (project / "named.gguf").read_bytes()
    write_adapter(project / "pipelines/mails.mood.lora.gguf", base="", seed=1)
    done = export(project, "mails", "out.gguf")
    assert done.code == 2
    assert "several steps have an adapter (sort, mood)\n  hint: --step sort" in done.err


def test_the_adapter_that_the_step_names_is_merged_before_one_of_its_own_name(project: Path) -> None:
    pipeline = project / "pipelines/mails.yaml"
    assert export(project, "mails", "trained.gguf").code == 0
    write_adapter(project / "pipelines/chosen.gguf", base=file_digest(project / "tiny.gguf"), seed=1)
    pipeline.write_text(PIPELINE.replace("sort: {", "sort: {adapter: chosen.gguf, "))
    done = export(project, "mails", "named.gguf", "--step", "sort")
    assert "with chosen.gguf merged" in done.err
    assert (project / "named.gguf").read_bytes() != (project / "trained.gguf").read_bytes()


def test_a_model_is_quantised_and_an_adapter_merged_at_once(project: Path) -> None:
    adapter = "pipelines/mails.sort.lora.gguf"
    assert export(project, "tiny.gguf", "small.gguf", "--adapter", adapter, "--quantize", "q8_0").code == 0
    assert read_contents(project / "small.gguf").tensors["blk.0.ffn_up.weight"].type.name == "Q8_0"
    adapted = np.exp(answer(project / "tiny.gguf", project / adapter))
    assert np.abs(np.exp(answer(project / "small.gguf")) - adapted).sum() / 2 < 0.05


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["tiny.gguf", "out.gguf"], "nothing to change in the copy"),
        (["tiny.gguf", "out.bin", "--quantize", "q8_0"], "does not end in .gguf\n  hint: out.bin.gguf"),
        (["tiny.gguf", "tiny.gguf", "--quantize", "q8_0"], "would replace the file that it is made from"),
        (["tiny.gguf", "no/out.gguf", "--quantize", "q8_0"], "make the folder first"),
        (["gone.gguf", "out.gguf", "--quantize", "q8_0"], "gone.gguf: no such file"),
        (["promptkit.yaml", "out.gguf", "--quantize", "q8_0"], "promptkit.yaml"),
        (["ollama/qwen3", "out.gguf", "--quantize", "q8_0"], "has no file of weights here"),
        (["tiny.gguf", "out.gguf", "--step", "sort"], "`tiny.gguf` is a model, and --step is for a target"),
        (["mails", "out.gguf", "--step", "mode"], "no step `mode`\n  hint: its steps: sort, mood"),
        (["mails", "out.gguf", "--step", "mood"], "hint: promptkit train mails --adapter --step mood"),
        (
            ["tiny.gguf", "out.gguf", "--adapter", "tiny.gguf"],
            "this GGUF file holds no low-rank adapter",
        ),
        (["pipelines/mails.sort.lora.gguf", "out.gguf", "--quantize", "q8_0"], "this is an adapter, not a model"),
    ],
)
def test_what_does_not_fit_is_refused_and_writes_nothing(project: Path, arguments: list[str], problem: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*.*")}
    done = export(project, *arguments)
    assert done.code == 2
    assert problem in done.err
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*.*")} == before


def test_an_adapter_of_other_weights_is_refused(project: Path) -> None:
    write_tiny(project / "tiny.gguf", seed=1)
    done = export(project, "mails", "out.gguf")
    assert done.code == 2
    assert "mails.sort.lora.gguf: this adapter was trained on other weights than those of tiny.gguf" in done.err
