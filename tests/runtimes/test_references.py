"""What a person writes to say which model answers."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.errors import InputError
from promptkit.runtimes.references import ModelReference, open_runtime, parse_reference
from promptkit.runtimes.replay import Recorder, Replay
from promptkit.runtimes.servers.openai import OpenAI

GOOD = [
    ModelReference(text="auto", kind="auto"),
    ModelReference(text="embedded/smollm2", kind="embedded", name="smollm2"),
    ModelReference(text="embedded/qwen2.5-1.5b", kind="embedded", name="qwen2.5-1.5b"),
    ModelReference(text="ollama/qwen2.5:1.5b", kind="ollama", name="qwen2.5:1.5b"),
    ModelReference(text="ollama/hf.co/a/b:Q4", kind="ollama", name="hf.co/a/b:Q4"),
    ModelReference(text="gguf:models/a b.gguf", kind="gguf", path="models/a b.gguf"),
    ModelReference(text="hf/owner/repo/sub/a.gguf", kind="hf", name="owner/repo", path="sub/a.gguf"),
    ModelReference(text="replay:run.jsonl", kind="replay", path="run.jsonl"),
    ModelReference(text="scripted:a.yaml", kind="scripted", path="a.yaml"),
    ModelReference(text="scripted:C:/a.yml", kind="scripted", path="C:/a.yml"),
    ModelReference(text="scripted:a/b.py:answer", kind="scripted", path="a/b.py", function="answer"),
    ModelReference(
        text="openai/org/m@1@http://127.0.0.1:8000/v1/", kind="openai", name="org/m@1", url="http://127.0.0.1:8000/v1"
    ),
]


@pytest.mark.parametrize("reference", GOOD, ids=str)
def test_a_reference_is_read_in_its_parts(reference: ModelReference) -> None:
    assert parse_reference(reference.text) == reference


BAD = [
    ("", "ollama/NAME"),
    ("qwen2.5:1.5b", "did you mean `ollama/qwen2.5:1.5b`"),
    ("smollm2", "did you mean `embedded/smollm2`, `ollama/smollm2`, or"),
    ("ollama", "write ollama/NAME"),
    ("autp", "did you mean `auto`?"),
    ("model.gguf", "did you mean `gguf:model.gguf`"),
    ("olama/qwen", "did you mean `ollama/qwen`"),
    ("ollama:qwen", "write ollama/NAME"),
    ("ollama/", "ollama/NAME"),
    ("gguf/a.gguf", "gguf:"),
    ("auto/x", "auto"),
    ("embedded/smolm2", "did you mean `smollm2`"),
    ("hf/owner/a.gguf", "write hf/OWNER/REPO/FILE.gguf"),
    ("scripted:a.py", "FILE.py:FUNCTION"),
    ("scripted:a.yaml:function.name", "FILE.py:FUNCTION"),
    ("openai/m", "write openai/m@http://HOST:PORT/v1"),
    ("gpt-4", "openai/gpt-4@http://HOST:PORT/v1"),
    ("ollama/m@http://a:11434", "put the address into OLLAMA_HOST"),
    ("openai/m@http://[::1", "@http://HOST:PORT/v1"),
    ("openai/m@http://:80/v1", "@http://HOST:PORT/v1"),
    ("openai/m@http://a:99999/v1", "@http://HOST:PORT/v1"),
]


@pytest.mark.parametrize(("text", "said"), BAD)
def test_what_is_no_reference_is_said_with_how_it_is_written(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_reference(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "address", ["sk-planted@a/v1", "user:sk-planted@a/v1", "a/v1?key=sk-planted", "a/v1#sk-planted"]
)
def test_a_key_in_an_address_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_reference(f"openai/m@http://{address}")
    assert "OPENAI_API_KEY" in str(caught.value)
    assert "planted" not in str(caught.value)


@given(st.text() | st.from_regex(r"(ollama|openai|hf|gguf|scripted|replay|embedded)[/:].*"))
def test_any_text_is_a_reference_or_an_error_of_input(text: str) -> None:
    with suppress(InputError):
        assert parse_reference(text).text == text


async def test_a_path_is_relative_to_where_the_reference_stands(tmp_path: Path) -> None:
    Recorder(tmp_path / "run.jsonl").close()
    assert isinstance(await open_runtime("replay:run.jsonl", base=tmp_path), Replay)


async def test_a_missing_file_is_an_error_of_input(tmp_path: Path) -> None:
    for reference in ("replay:a.jsonl", "scripted:a.yaml", "scripted:a.py:answer"):
        with pytest.raises(InputError, match=r"a\."):
            await open_runtime(reference, base=tmp_path)


async def test_a_server_is_not_spoken_to_before_it_is_asked(tmp_path: Path) -> None:
    runtime = await open_runtime("openai/m@http://127.0.0.1:9/v1", base=tmp_path)
    assert isinstance(runtime, OpenAI)
    await runtime.close()


async def test_auto_names_no_model_by_itself(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="auto"):
        await open_runtime("auto", base=tmp_path)


def test_importing_the_floor_brings_in_nothing_heavy() -> None:
    heavy = ["httpx", "aiohttp", "ollama", "xllamacpp", "pydantic", "yaml", "stamina", "jinja2", "numpy", "sqlite3"]
    code = f"import json, sys, promptkit.runtimes.models; print(json.dumps([m for m in {heavy} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
