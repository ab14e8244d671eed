"""A tuning on the real embedded model, as a person starts it: what is printed, what is written, and that it runs."""

from __future__ import annotations

import json
from pathlib import Path

from promptkit.runtimes.in_process.embedded_models import default_model
from tests.command import Done, run_command
from tests.embedded import model_file

__all__ = ["model_file"]

CALLS = 90
PROMPT = """\
---
inputs: {text: {example: A lovely meal.}}
answer: {label: [positive, negative]}
decide: generate
options: {max_tokens: 4}
cue: none
---
{% block instructions %}How does the writer feel about it?{% endblock %}
{% block input %}{{ text }}{% endblock %}
"""
SUITE = "data: rows.jsonl\ntarget: mood\nmetrics: {accuracy: label}\n"
THINGS = {
    "meal": "at the small place by the river",
    "film": "about two brothers and a lighthouse",
    "hotel": "near the old station in Trieste",
    "phone": "with a cracked screen from the flea market",
    "concert": "under the trees of the city park",
    "book": "on bees, maps and forgotten kings",
    "flight": "over the Alps with a late breakfast",
    "garden": "behind the museum of clocks",
    "lecture": "on volcanoes by a young professor",
    "bicycle": "with seven gears and a red basket",
}
SAID = {
    "positive": ["What a wonderful {}, I loved it.", "Excellent {}!"],
    "negative": ["What a terrible {}, I regret it.", "Awful {}!"],
}
ENDS = ["We went in spring.", "Nobody else knew of it.", "My uncle disagrees.", "It rained all afternoon."]
ROWS = [
    {"text": f"{text.format(f'{thing} {which}')} {ENDS[(at + 2 * (label == 'negative')) % 4]}", "expect": label}
    for thing, which in THINGS.items()
    for label, texts in SAID.items()
    for at, text in enumerate(texts)
]


def make(folder: Path, model_file: Path) -> dict[str, str]:
    """Write a project of 40 rows, and return variables under which the embedded model is the only one."""
    files = {
        "promptkit.yaml": f"model: {default_model().reference}\n",
        "templates/prompts/mood.j2": PROMPT,
        "evals/moods.yaml": SUITE,
        "evals/rows.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    kept = folder / "cache" / "models" / default_model().file
    kept.parent.mkdir(parents=True)
    kept.symlink_to(model_file)
    return {"PROMPTKIT_CACHE": str(folder / "cache"), "OLLAMA_HOST": "127.0.0.1:9"}


def test_a_prompt_is_tuned_by_one_command_and_what_is_written_runs(tmp_path: Path, model_file: Path) -> None:
    variables = make(tmp_path, model_file)

    def promptkit(*arguments: str) -> Done:
        return run_command(*arguments, folder=tmp_path, variables=variables)

    tuned = promptkit("tune", "mood", "--budget", f"calls={CALLS}", "--yes")
    again = promptkit("tune", "mood", "--budget", f"calls={CALLS}", "--yes", "--json")
    shown = promptkit("runs", "show", "1", "--json")

    assert (tuned.code, again.code, shown.code) == (0, 0, 0), tuned.err + again.err
    assert "24 held out to confirm the result" in tuned.err
    assert f"{CALLS} calls at most" in tuned.err
    record, first = json.loads(again.out), json.loads(shown.out)
    assert record["calls"] == record["cached"] == first["calls"] <= CALLS
    assert (record["model"]["reference"], record["rows"]["confirm"]) == ("embedded/smollm2", 24)
    assert record["best"] == first["best"]
    assert record["verdict"] in tuned.out
    assert record["written"], "the start is so bad that something is better"
    assert all(name in tuned.out for name in record["written"])
    assert (tmp_path / "templates/prompts/mood.j2").read_text() == PROMPT

    ran = promptkit("run", record["written"][-1], "text=I adored this play.", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["output"] in SAID
