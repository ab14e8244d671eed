"""`promptkit train --adapter`: from labelled rows to an adapter beside the pipeline, on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import patch

import pytest

from promptkit.runtimes.in_process.adapter_file import check_fits, read_adapter
from promptkit.runtimes.in_process.gguf import read_soft_prompt
from promptkit.training.fitting import memory
from tests.command import run_command
from tests.engine.helpers import Folder
from tests.training.tiny_gguf import CONTROL_TOKENS, TinyShape, write_tiny

PIPELINE = """
    name: mails
    inputs:
      mail: {type: text, example: hello}
    steps:
      sort:
        prompt: {input: "{{ mail }}", cue: "Team:"}
        answer: {label: [a, b]}
        layout: prefix  # as short as it gets
    output: "{{ sort }}"
"""
WORDS = ("am", "bi", "ce", "de", "em", "fj", "gr", "he")
TRAIN = ("train", "pipelines/mails.yaml", "--adapter", "--data", "rows.jsonl", "--expect", "team")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = TinyShape(layers=2, width=32, inner=32, heads=2, kv_heads=1, head_size=16)
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", shape=shape)


@pytest.fixture
def folder(tmp_path: Path, model: Path) -> Folder:
    folder = Folder(tmp_path)
    folder.write("promptkit.yaml", f"model: gguf:{model}\n")
    folder.write("pipelines/mails.yaml", PIPELINE)
    rows = [
        {"mail": f"{WORDS[at % 8]} {WORDS[at // 8]}{at * 37} {'yes' if at % 2 else 'no'}", "team": "ab"[at % 2]}
        for at in range(48)
    ]
    folder.write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_step_is_trained_and_its_adapter_written_and_named(folder: Folder, model: Path) -> None:
    done = run_command(*TRAIN, "--apply", "--batch", "48", folder=folder.root)

    assert done.code == 0, done.err
    assert "sort: 38 rows to train on, 10 to validate on" in done.err
    assert "sort: base · validation loss" in done.err
    assert "10 rows, held to the allowed answers" in done.out
    assert "written      pipelines/mails.sort.lora.gguf" in done.out
    assert "promptkit eval SUITE" in done.err
    adapter = read_adapter(folder.root / "pipelines/mails.sort.lora.gguf")
    check_fits(adapter, model, "tiny")
    assert adapter.training is not None
    assert adapter.training.step == "sort"
    assert len(adapter.training.rows) == 48
    assert str(folder.root) not in adapter.training.model_dump_json()
    text = (folder.root / "pipelines/mails.yaml").read_text()
    assert "# as short as it gets" in text
    assert "adapter: mails.sort.lora.gguf" in text
    assert not list((folder.root / ".promptkit/training").glob("*.npz")), "a finished training needs no checkpoint"


def test_a_soft_prompt_is_a_copy_of_the_model_that_begins_each_prompt_with_it(folder: Folder, model: Path) -> None:
    arguments = ["--soft-prompt" if argument == "--adapter" else argument for argument in TRAIN]
    done = run_command(*arguments, "--apply", "--batch", "48", folder=folder.root)

    assert done.code == 0, done.err
    assert "written      pipelines/mails.sort.soft.gguf" in done.out
    assert "model: gguf:mails.sort.soft.gguf" in (folder.root / "pipelines/mails.yaml").read_text()
    copy = folder.root / "pipelines/mails.sort.soft.gguf"
    assert list(read_soft_prompt(copy).values()) == list(CONTROL_TOKENS[3:])
    shown = run_command("render", "mails", "--text", "mail=hello", folder=folder.root)
    assert "".join(CONTROL_TOKENS[3:]) + "<|im_start|>user" in shown.out
    ran = run_command("run", "mails", "mail=hello", folder=folder.root)
    assert ran.out.strip() in ("a", "b")
    free = run_command(
        "run", "mails", "mail=hello", "--set", "sort.decide=generate", "--set", "sort.answer=text", folder=folder.root
    )
    assert not any(token in free.out for token in CONTROL_TOKENS[3:])

    again = run_command(*arguments, "--force", folder=folder.root)
    assert again.code == 2
    assert "this model has a soft prompt already" in again.err


def test_the_record_says_what_ended_a_training_and_which_rows_were_too_long(folder: Folder) -> None:
    rows = folder.root / "rows.jsonl"
    rows.write_text(rows.read_text() + json.dumps({"mail": "long " * 400, "team": "a"}) + "\n")
    # The size of the batch is that of the first test, so that nothing is compiled again.
    done = run_command(*TRAIN, "--minutes", "0.0001", "--batch", "48", "--json", folder=folder.root)

    assert done.code == 0, done.err
    assert "left out 1 row longer than the window: 49" in done.err
    (step,) = done.json["steps"]
    assert (done.json["kind"], done.json["pipeline"]) == ("adapter", "mails")
    assert (step["ending"], step["steps"], step["file"]) == ("time limit", 0, None)
    assert step["rows"]["training"] + step["rows"]["validation"] == 48
    assert step["rows"]["too_long"] == [49]
    assert step["measure"] == "constrained"
    assert step["difference"]["difference"] == 0
    assert list((folder.root / ".promptkit/training").glob("*.npz")), "the same command goes on from it"


def test_a_step_that_decides_by_a_head_which_is_still_missing_is_trained(folder: Folder) -> None:
    pipeline = folder.root / "pipelines/mails.yaml"
    pipeline.write_text(pipeline.read_text().replace("layout: prefix", "layout: prefix\n    decide: head"))
    done = run_command(*TRAIN, "--minutes", "0.0001", "--batch", "48", folder=folder.root)
    assert done.code == 0, done.err

    by_head = ["--head" if argument == "--adapter" else argument for argument in TRAIN]
    done = run_command(*by_head, folder=folder.root)
    assert done.code == 0, done.err
    assert (folder.root / "pipelines/mails.sort.head.json").exists()
    assert run_command("run", "mails", "mail=hello", folder=folder.root).out.strip() in ("a", "b")


def test_memory_that_does_not_suffice_is_said_with_what_would(folder: Folder) -> None:
    with patch.object(memory, "available_memory", return_value=memory.LIBRARIES):
        done = run_command(*TRAIN, folder=folder.root)

    assert done.code == 2
    assert "training the step `sort` takes some 0.7 GB, with the weights as int8, and 0.7 GB are free" in done.err
    assert "take a smaller model, or shorter rows; the longest row has" in done.err


def test_an_earlier_adapter_is_not_overwritten(folder: Folder) -> None:
    folder.write("pipelines/mails.sort.lora.gguf", "mine")
    done = run_command(*TRAIN, folder=folder.root)

    assert done.code == 2
    assert "there is an adapter already" in done.err
    assert (folder.root / "pipelines/mails.sort.lora.gguf").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "mails"), "say what is to be trained"),
        ((*TRAIN, "--suite", "x"), "--expect and --suite both name the answers"),
        ((*TRAIN, "--minutes", "0"), "--minutes is a number above 0"),
        ((*TRAIN, "--limit", "9"), "9 labelled rows of the step `sort` are too few"),
        ((*TRAIN, "--step", "nope"), "has no step `nope`"),
        (("train", "mails", "--adapter"), "no suite measures `mails`"),
        (("train", "mails", "--adapter", "--expect", "team"), "--expect names a field of --data"),
        ((*TRAIN, "--model", "scripted:x.yaml"), "its weights are not in this process"),
    ],
)
def test_a_mistake_is_named_before_anything_is_trained(
    folder: Folder, arguments: tuple[str, ...], message: str
) -> None:
    folder.write("x.yaml", "replies: [a]\n")
    done = run_command(*arguments, folder=folder.root)

    assert done.code == 2
    assert message in done.err
    assert not list(folder.root.glob("pipelines/*.gguf"))


def test_a_missing_package_is_named_with_the_extra(folder: Folder) -> None:
    with patch("promptkit.training.step_training.find_spec", return_value=None):
        done = run_command(*TRAIN, folder=folder.root)

    assert done.code == 2
    assert "training a model needs an optional package" in done.err
    assert "pip install 'promptkit[train]'" in done.err
