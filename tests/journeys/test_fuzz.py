"""Any bytes as pipeline, prompt, settings, script, recording or data give an object or our error, never another."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptkit.cli.values import read_inputs
from promptkit.engine import load_target
from promptkit.errors import PromptkitError
from promptkit.project import LIBRARY, Project
from promptkit.runtimes import Replay
from promptkit.runtimes.scripts import load_script
from tests.journeys.commands import FILES, PIPELINE, PROMPT

FUZZ = settings(max_examples=60, deadline=5000, suppress_health_check=list(HealthCheck))
REAL = [PIPELINE.encode(), PROMPT.encode(), b'{"mail": "a"}\n', b"rules: [{contains: a, reply: b}]\n"]
REAL += [
    path.read_bytes() for name in ("pipelines", "templates/prompts") for path in sorted((LIBRARY / name).glob("*.*"))
]
PIECES = st.sampled_from(
    [b"{{", b"}}", b"{%", b"---\n", b"\t", b"&a ", b"*a", b"\xff", b"\0", b"- ", b": ", b"[" * 500]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A real file with a part cut out, doubled or replaced."""
    text = draw(st.sampled_from(REAL))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        text = text[:start] + draw(st.one_of(PIECES, st.binary(max_size=5), st.just(text[start:end] * 2))) + text[end:]
    return text


CONTENT = st.one_of(
    mutated(), st.binary(max_size=300), st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fuzz")
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def load(folder: Path, name: str, content: bytes, target: str) -> None:
    """Load a target with one file of this content, which is then as it was."""
    path, before = folder / name, (folder / name).read_bytes() if (folder / name).exists() else None
    path.write_bytes(content)
    try:
        with contextlib.suppress(PromptkitError):
            load_target(target, Project.find(folder))
    finally:
        path.unlink() if before is None else path.write_bytes(before)


@FUZZ
@given(content=CONTENT)
@pytest.mark.parametrize("name", ["pipelines/test.yaml", "templates/prompts/sort.j2", "promptkit.yaml"])
def test_any_bytes_as_a_file_of_a_project_are_read_or_refused(folder: Path, name: str, content: bytes) -> None:
    load(folder, name, content, "test")


@FUZZ
@given(content=CONTENT, ending=st.sampled_from(["jsonl", "json", "csv", "tsv", "yaml", "txt"]))
def test_any_bytes_as_data_are_rows_or_refused(folder: Path, content: bytes, ending: str) -> None:
    path = folder / f"rows.{ending}"
    path.write_bytes(content)
    with contextlib.suppress(PromptkitError):
        list(read_inputs(path))
    examples = f"examples: {{file: ../../rows.{ending}}}\nanswer:"
    load(folder, "templates/prompts/sort.j2", PROMPT.replace("answer:", examples).encode(), "sort")


@FUZZ
@given(content=CONTENT)
def test_any_bytes_as_a_script_or_a_recording_are_read_or_refused(folder: Path, content: bytes) -> None:
    path = folder / "given.yaml"
    path.write_bytes(content)
    with contextlib.suppress(PromptkitError):
        load_script(path, f"scripted:{path}")
    with contextlib.suppress(PromptkitError):
        Replay(path)
