"""A made-up run for the page: sentiment of one-sentence reviews under three variants, some answers hostile."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from promptkit.evaluation.cells.cell import Cell, CellFlag
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.statistics.interval import NORMAL_QUANTILE, wilson

LABELS = ("negative", "neutral", "positive")
LENGTHS = ("short", "medium", "long")
SOURCES = ("app", "forum", "letter", "shop")
HOSTILE = (
    "</script><script>document.title='taken'</script>",
    "<img src=x onerror=\"document.title='taken'\">",
    "right \u202eot tfel\u202c, a bell \x07, a separator \u2028, half a pair \ud83d, a joiner 👩\u200d💻",
    "{{ 7 * 7 }} ${document.title='taken'} <!-- <script>",
)
_SUBJECTS = ("The screen", "The hinge", "Support", "The battery", "The second delivery", "This book", "The new menu")
_SAID = {
    "negative": ("broke within a week", "never answered my letter", "is worse than the one before", "smells of glue"),
    "neutral": ("arrived on Tuesday", "comes in three sizes", "is the one from the picture", "needs two screws"),
    "positive": ("works better than promised", "made my mother laugh", "is worth every cent", "still shines"),
}
_PARTS = ("ba", "ko", "lin", "mer", "nu", "os", "pra", "ri", "sta", "tel", "uv", "wem", "xa", "yor", "zi", "grun")
_SYSTEM = (
    "You label customer reviews for a shop that sells household goods. Read the review, decide whether its writer is "
    "pleased, displeased or says nothing of either, and answer with one label.\n\n"
    "Labels\n- negative: the writer is displeased\n- neutral: a fact without a judgement\n"
    "- positive: the writer is pleased"
)
_WORDS = [first + second + third for first in _PARTS for second in _PARTS for third in ("", "nen", "to", "sal")]
_RIGHT = {"short": 0.8, "thinking": 0.88, "examples": 0.84}


@dataclass
class DemoView:
    """A run of `rows` rows; the same every time. `hostile` puts an attack into every 50th row's field and answers.

    `words` more words in each row's text, drawn from many, make a page that is as hard to compress as real ones.
    """

    rows: int = 240
    words: int = 0
    variants: tuple[str, ...] = ("short", "thinking", "examples")
    status: str = "done"
    hostile: bool = True
    number: int = 12
    suite: str = "sentiment"
    started: float = 1_790_000_000.0
    metrics: tuple[str, ...] = ("accuracy", "similarity", "tokens")

    @cached_property
    def settings(self) -> Mapping[str, Mapping[str, Any]]:
        sets: dict[str, dict[str, Any]] = {
            "thinking": {"mood.technique": "chain_of_thought"},
            "examples": {"mood.examples": {"count": 4, "pick": "balanced"}},
        }
        return {name: sets.get(name, {}) for name in self.variants}

    def cells(self, variant: str | None = None) -> Iterator[Cell]:
        for row in range(1, self.rows + 1):
            for name in self.variants:
                if variant in (None, name):
                    yield self._cell(row, name)

    def trace(self, cell: int) -> Mapping[str, Any] | None:
        row, number = divmod(cell, len(self.variants))
        view = self._cell(row, self.variants[number])
        if view.flag == "error":
            return None
        calls = [
            self._call(view, "classify", view.output if isinstance(view.output, str) else "I would rather not say.")
        ]
        if view.variant == "thinking":
            thoughts = f"The review speaks of one thing. It says: {view.fields['text']} So the label follows."
            calls.insert(
                0, {**self._call(view, "think", thoughts), "thoughts": "Whether that is a joke?", "parsed": None}
            )
        step = {
            "name": "mood",
            "kind": "prompt",
            "status": "unparsed" if view.flag == "unparsed" else "done",
            "seconds": view.seconds,
            "waited": 0.0,
            "value": view.output,
            "calls": calls,
            "parts": [],
        }
        return {
            "name": "sentiment",
            "kind": "pipeline",
            "status": "done",
            "seconds": view.seconds,
            "waited": 0.02,
            "value": view.output,
            "extra": {"route": ["mood"]},
            "calls": [],
            "parts": [step],
        }

    def _call(self, view: Cell, name: str, reply: str) -> dict[str, Any]:
        return {
            "call": name,
            "messages": [
                {"role": "system", "content": _SYSTEM},
                {"role": "user", "content": f"<INPUT>\n{view.fields['text']}\n</INPUT>\n\nOnly the label."},
            ],
            "begun": "Sentiment:",
            "options": {"temperature": 0.0, "max_tokens": 12},
            "reply": reply,
            "thoughts": "",
            "finish": "length" if view.flag == "truncated" else "stop",
            "parsed": view.output,
            "problem": "no label in it" if view.flag == "unparsed" else None,
            "requests": 1,
            "tokens_in": view.tokens_in,
            "tokens_out": view.tokens_out,
            "seconds": view.seconds,
            "cached": False,
            "sample": "",
            "level": 1,
            "deciding": name == "classify",
            "repair": False,
            "notes": ["the cue was sent as the begun turn"],
        }

    def _cell(self, row: int, variant: str) -> Cell:
        of_row, of_cell = random.Random(f"{row}"), random.Random(f"{row} {variant}")
        label = of_row.choice(LABELS)
        text = f"{of_row.choice(_SUBJECTS)} {of_row.choice(_SAID[label])}, number {row:05}."
        length = of_row.choice(LENGTHS)
        text += " I write this after some weeks of use, and would say the same today." * LENGTHS.index(length)
        text += "".join(f" {of_row.choice(_WORDS)}" for _ in range(self.words))
        attack = HOSTILE[row // 50 % len(HOSTILE)] if self.hostile and row % 50 == 0 else ""
        flag, output = self._answer(of_cell, label, _RIGHT.get(variant, 0.8), length)
        if attack and flag == "":
            output = attack
        calls = 2 if variant == "thinking" else 1
        tokens_out = 4 if calls == 1 else 30 + of_cell.randrange(60)
        right = float(output == label)
        near = right or round(of_cell.uniform(0.2, 0.7), 3)
        scores = {
            "accuracy": Score(right, {"expected": label, "got": output}),
            "similarity": Score(near if flag == "" else 0.0),
            "tokens": Score(float(180 * calls + tokens_out)),
        }
        return Cell(
            variant=variant,
            row=row,
            repeat=0,
            fields={
                "text": text + attack,
                "length": length,
                "source": of_row.choice(SOURCES),
                "stars": of_row.randrange(1, 6),
                "label": label,
            },
            output=None if flag == "error" else output,
            expect=label,
            flag=flag,
            problem="the server closed the connection" if flag == "error" else "",
            scores={} if flag == "error" else scores,
            steps={"mood": output},
            warnings={"mood": ["weak_reading"]} if variant == "thinking" and row % 12 == 0 and flag != "error" else {},
            calls=calls,
            tokens_in=180 * calls,
            tokens_out=tokens_out,
            seconds=round(of_cell.lognormvariate(-1.2 + 0.7 * (calls - 1), 0.4), 3),
            number=row * len(self.variants) + self.variants.index(variant),
        )

    def _answer(self, chance: random.Random, label: str, right: float, length: str) -> tuple[CellFlag, Any]:
        if self.status == "incomplete" and chance.random() < 0.02:
            return "error", None
        if (drawn := chance.random()) < 0.012:
            return "unparsed", None
        if drawn < 0.018:
            return "truncated", "pos"
        if chance.random() < right - 0.08 * LENGTHS.index(length):
            return "", label
        return "", chance.choice([other for other in LABELS if other != label])

    @cached_property
    def record(self) -> Mapping[str, Any]:
        said = [self._variant(name) for name in self.variants]
        return {
            "run": self.number,
            "suite": self.suite,
            "target": "sentiment",
            "status": self.status,
            "model": {"reference": "embedded/smollm2", "digest": "sha256:0d1c4f5a77aa", "why": "promptkit.yaml"},
            "rows": self.rows,
            "repeat": 1,
            "exact": False,
            "in_flight": 8,
            "limited": False,
            "seconds": 94.2,
            "notes": ["8 requests were sent at once: long answers may differ from those sent one at a time"],
            "variants": said,
            "comparisons": [] if self.status == "incomplete" else self._comparisons(said),
            "thresholds": self._thresholds(said[0]),
        }

    def _thresholds(self, first: Mapping[str, Any]) -> list[dict[str, Any]]:
        judged = self.status != "incomplete"
        says = "the mean is near it, but so few rows show less; about 2,000 rows at this rate would be enough"
        return [
            {
                "metric": "accuracy",
                "variant": first["name"],
                "kind": "at_least",
                "wanted": 0.8,
                "shown": first["metrics"]["accuracy"]["low"] if judged else None,
                "passed": False if judged else None,
                "says": says if judged else "answers are missing",
            },
            {
                "metric": "unparsed",
                "variant": "",
                "kind": "at_most",
                "wanted": 0.05,
                "shown": 0.012,
                "passed": True if judged else None,
                "says": "so few do not parse" if judged else "answers are missing",
            },
        ]

    def _variant(self, name: str) -> dict[str, Any]:
        cells = list(self.cells(name))
        answered = [cell for cell in cells if cell.flag != "error"]
        right, n = sum(int(cell.scores["accuracy"].value or 0) for cell in answered), len(answered)
        low, high = wilson(right, n, z=NORMAL_QUANTILE)
        return {
            "name": name,
            "sets": dict(self.settings[name]),
            "cases": len(cells),
            "missing": len(cells) - n,
            "metrics": {
                "accuracy": {
                    **_metric("label", right / n, low, high, n),
                    "parts": {"classes": _classes(answered), "confusion": _confusion(answered)},
                    "notes": ["unparsed and cut-off answers count as wrong"],
                },
                "similarity": _graded("edit", [cell.scores["similarity"].value or 0.0 for cell in answered]),
                "tokens": {
                    **_graded("tokens", [cell.scores["tokens"].value or 0.0 for cell in answered]),
                    "bounds": None,
                    "higher_is_better": False,
                    "parts": {"95th percentile": 430.0},
                },
            },
            "unparsed": sum(cell.flag == "unparsed" for cell in cells),
            "truncated": sum(cell.flag == "truncated" for cell in cells),
            "warnings": dict(Counter(name for cell in cells for name in cell.warned)),
            "calls": sum(cell.calls for cell in cells),
            "cached": 0,
            "tokens_in": sum(cell.tokens_in for cell in cells),
            "tokens_out": sum(cell.tokens_out for cell in cells),
            "seconds": sum(cell.seconds for cell in cells),
            "cost": None,
        }

    def _comparisons(self, said: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found = []
        for other in said[1:]:
            for metric in ("accuracy", "tokens"):
                mine, base = (each["metrics"][metric]["mean"] for each in (other, said[0]))
                ratio = metric == "tokens"
                difference = mine / base if ratio else mine - base
                reach = 0.02 if ratio else 0.05
                found.append(
                    {
                        "a": other["name"],
                        "b": said[0]["name"],
                        "metric": metric,
                        "difference": difference,
                        "low": difference - reach,
                        "high": difference + reach,
                        "p": 0.00004 if ratio else 0.0213,
                        "adjusted": 0.0002 if ratio else 0.0426,
                        "n": self.rows,
                        "better": 31,
                        "worse": 14,
                        "is_ratio": ratio,
                        "method": "ratio of geometric means, t" if ratio else "Tango, McNemar mid-p",
                        "comparisons": 4,
                        "smallest": 0.05,
                        "rows_needed": None if ratio else 420,
                        "notes": [],
                    }
                )
        return found


def _metric(kind: str, mean: float, low: float, high: float, n: int) -> dict[str, Any]:
    return {
        "kind": kind,
        "mean": mean,
        "low": low,
        "high": high,
        "n": n,
        "clusters": n,
        "parts": {},
        "notes": [],
        "higher_is_better": True,
        "bounds": [0, 1],
    }


def _graded(kind: str, values: list[float]) -> dict[str, Any]:
    mean = sum(values) / len(values)
    spread = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
    reach = NORMAL_QUANTILE * spread / len(values) ** 0.5
    return _metric(kind, mean, mean - reach, mean + reach, len(values))


def _confusion(cells: list[Cell]) -> dict[str, dict[str, int]]:
    matrix: dict[str, dict[str, int]] = {label: {} for label in LABELS}
    for cell in cells:
        predicted = cell.output if cell.output in LABELS else "(unparsed)"
        matrix[cell.expect][predicted] = matrix[cell.expect].get(predicted, 0) + 1
    return matrix


def _classes(cells: list[Cell]) -> dict[str, dict[str, float]]:
    found = {}
    for label in LABELS:
        expected = [cell for cell in cells if cell.expect == label]
        predicted = sum(cell.output == label for cell in cells)
        right = sum(cell.output == label for cell in expected)
        precision, recall = right / max(predicted, 1), right / max(len(expected), 1)
        low, high = wilson(right, max(len(expected), 1), z=NORMAL_QUANTILE)
        found[label] = {
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / ((precision + recall) or 1),
            "n": len(expected),
            "recall_low": low,
            "recall_high": high,
        }
    return found
