"""A prompt as a Modelfile of Ollama."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptkit.api.export.modelfile import export_modelfile
from promptkit.errors import InputError
from tests.command import run_command

MOOD = """\
---
inputs: {text: {}, tone: {default: neutral}, history: {type: messages, default: []}}
answer: {label: [good, bad]}
examples:
  - {input: {text: I love it}, output: good}
options: {temperature: 0.5, seed: 3, top_p: 0.9, context: 4096, stop: ["END"]}
---
{% block instructions %}Say whether the mood is good or bad, in a {{ tone }} tone.{% endblock %}
{% block input %}{{ text }}{% endblock %}
"""
EXPECTED = '''\
# mood, exported by promptkit
# the prompt puts this around the input, and the message of a user comes without it: <INPUT> … </INPUT>
# the reply is not held to the answer type `label`, nor repaired where it does not parse
# these inputs are fixed to their defaults: tone
FROM qwen2.5:1.5b
PARAMETER temperature 0.5
PARAMETER num_predict 32
PARAMETER top_p 0.9
PARAMETER seed 3
PARAMETER num_ctx 4096
PARAMETER stop """END"""
SYSTEM """<INSTRUCTIONS>
Say whether the mood is good or bad, in a neutral tone.
</INSTRUCTIONS>

<OUTPUT_FORMAT>
Answer with exactly one of these labels and nothing else: good, bad.
</OUTPUT_FORMAT>"""
MESSAGE user """I love it"""
MESSAGE assistant """good"""
'''


def prompt(folder: Path, text: str = MOOD) -> str:
    file = folder / "templates" / "prompts" / "mood.j2"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return str(file)


def pipeline(folder: Path, text: str) -> str:
    file = folder / "pipelines" / "p.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return str(file)


async def test_a_prompt_is_a_system_message_examples_and_parameters(tmp_path: Path) -> None:
    written = await export_modelfile(prompt(tmp_path), model="ollama/qwen2.5:1.5b")
    assert written.text == EXPECTED
    assert [f"# {note}" for note in written.notes] == EXPECTED.splitlines()[1:4]


async def test_instructions_that_hold_the_input_name_the_message_in_its_place(tmp_path: Path) -> None:
    target = pipeline(tmp_path, 'inputs: {text: {}}\nsteps:\n  a: {prompt: "Translate {{ text }} to French."}\n')
    written = await export_modelfile(target, model="ollama/m")
    assert "Translate [the message of the user] to French." in written.text
    assert "the instructions hold the input" in written.notes[0]


@pytest.mark.parametrize(
    ("model", "origin"),
    [("gguf:/models/a.gguf", "/models/a.gguf"), ("hf/me/repo/a.Q4.gguf", "hf.co/me/repo:a.Q4.gguf")],
)
async def test_weights_are_named_as_ollama_names_them(tmp_path: Path, model: str, origin: str) -> None:
    assert f"\nFROM {origin}\n" in (await export_modelfile(prompt(tmp_path), model=model)).text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inputs: {t: {}}\nsteps:\n  a: {prompt: 'A {{ t }}'}\n  b: {prompt: 'B {{ a }}'}\n", "has the steps a, b"),
        ("inputs: {t: {}}\nsteps:\n  a: {prompt: 'A {{ t }}', technique: chain_of_thought}\n", "loop or technique"),
        ("inputs: {t: {}}\nsteps:\n  a: {prompt: 'A {{ t }}', repeat: {max: 2}}\n", "loop or technique"),
        ("inputs: {t: {}, u: {}}\nsteps:\n  a: {prompt: 'A {{ t }} {{ u }}'}\n", "takes `t`, `u`"),
        ("inputs: {t: {type: number}}\nsteps:\n  a: {prompt: 'A {{ t }}'}\n", "takes `t`"),
        ('inputs: {t: {}}\nsteps:\n  a: {prompt: \'A """ {{ t }}\'}\n', "cannot hold a text with"),
    ],
)
async def test_what_a_modelfile_cannot_be_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        await export_modelfile(pipeline(tmp_path, text), model="ollama/m")


def test_a_model_that_ollama_cannot_run_is_refused_and_a_file_is_written(tmp_path: Path) -> None:
    target = prompt(tmp_path)
    refused = run_command("export", "modelfile", target, "--model", "embedded/smollm2", folder=tmp_path)
    assert refused.code == 2
    assert "Ollama cannot run `embedded/smollm2`" in refused.err
    done = run_command("export", "modelfile", target, "--model", "ollama/m", "--out", "Modelfile", folder=tmp_path)
    assert done.code == 0, done.err
    assert "not in the Modelfile: these inputs are fixed" in done.err
    assert (tmp_path / "Modelfile").read_text().startswith("# mood, exported by promptkit\n")
