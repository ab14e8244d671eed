"""A tuning as its record tells it: one that improved, with all that a record may hold."""

from __future__ import annotations

from typing import Any

DIFF = """\
--- pipelines/mood.yaml
+++ pipelines/mood.tuned.yaml
@@ -1,3 +1,4 @@
 steps:
   mood:
-    prompt: mood
+    prompt: mood.tuned
+    decide: score
"""
GAIN = {"difference": 0.13, "low": 0.0, "high": 0.26, "n": 38}
_SIDE = {"mean": 0.61, "low": 0.53, "high": 0.69, "n": 142}


_WEIGHTS_GAIN = {"mean": 0.06, "low": 0.01, "high": 0.11, "level": 0.95, "better": 11, "worse": 2, "unit": "row"} | {
    "n": 142
}


def candidate(name: str, mean: float | None, tokens: float, **more: Any) -> dict[str, Any]:
    """Return a candidate of the record; `more` stands over what it has by itself."""
    return {
        "name": name,
        "choices": {"mood.decide": name},
        "changes": {"mood.decide": name},
        "stage": "race",
        "rows": 40,
        "mean": mean,
        "low": None if mean is None else max(0.0, mean - 0.12),
        "high": None if mean is None else min(1.0, mean + 0.12),
        "tokens": tokens,
        "latency": tokens / 500,
        "unparsed": 0.0,
        "calls": 1.0,
        "dropped": None,
        "front": False,
        "start": False,
        "pick": False,
        **more,
    }


def turned_row(number: int, change: str, **more: Any) -> dict[str, Any]:
    """Return a confirm row of the record that turned; `more` stands over what it has by itself."""
    right, wrong = {"value": "good", "score": 1.0}, {"value": "bad", "score": 0.0}
    before, after = (wrong, right) if change == "better" else (right, wrong)
    return {
        "row": number,
        "change": change,
        "fields": {"text": f"a film that is fine, number {number}", "expect": "good"},
        "expected": "good",
        "before": before,
        "after": after,
        **more,
    }


def curve_point(calls: int, n: int, mean: float, *, start: float | None = None) -> dict[str, Any]:
    """Return a point of the learning curve."""
    ends = {"low": mean - 0.2, "high": min(1.0, mean + 0.1)}
    return {"calls": calls, "name": "decide: score", "n": n, "mean": mean, "start": start, **ends}


def demo_tuning(**more: Any) -> dict[str, Any]:
    """Return the record of a tuning that improved; `more` stands over it."""
    return {
        "run": 12,
        "target": "mood",
        "suite": "moods",
        "metric": {"name": "accuracy", "kind": "label", "bounds": [0, 1], "higher_is_better": True},
        "status": "done",
        "model": {"reference": "embedded/smollm2", "digest": "sha256:0123456789abcdef", "why": "auto"},
        "optimizer": "race",
        "mode": "both",
        "seed": 0,
        "prefer": "best",
        "budget": {"calls": 600, "tokens": None, "minutes": None},
        "rows": {"search": 78, "pool": 16, "confirm": 142, "wrong": 0, "duplicates": 0, "salt": 3, "share": 0.6},
        "stages": [
            {"name": "screen", "step": "mood", "candidates": 24, "rows": 5, "calls": 120, "notes": []},
            {"name": "confirm", "step": None, "candidates": 2, "rows": 142, "calls": 284, "notes": ["two rows alike"]},
        ],
        "candidates": [
            candidate("decide: score · examples: 4", 0.82, 210.0, front=True, pick=True),
            candidate("decide: score", 0.74, 64.0, front=True, gain=GAIN),
            candidate("as written", 0.61, 61.0, front=True, start=True),
            candidate("layout: json", 0.41, 80.0, rows=20, dropped={"at": 20, "why": "2.9 standard errors behind"}),
            candidate("technique: <script>alert(1)</script>", None, 300.0, unparsed=1.0),
        ],
        "baseline": {"choices": {}, "search": {**_SIDE, "n": 40}, "shared": {**_SIDE, "n": 38}, "confirm": _SIDE},
        "best": {
            "choices": {"mood.decide": "score", "mood.examples": "4, draw 2"},
            "changes": {"mood.decide": "score"},
            "search": {"mean": 0.82, "low": 0.68, "high": 0.91, "n": 40},
            "shared": {"mean": 0.82, "low": 0.67, "high": 0.91, "n": 38},
            "confirm": {"mean": 0.71, "low": 0.63, "high": 0.78, "n": 142},
        },
        "difference": {
            "mean": 0.1,
            "low": 0.02,
            "high": 0.18,
            "level": 0.95,
            "better": 22,
            "worse": 8,
            "unit": "row",
            "n": 142,
        },
        "weights": {
            "compared": 31,
            "trained": [
                {
                    "step": "mood",
                    "kind": "head",
                    "rows": 63,
                    "skipped": None,
                    "calls": 63,
                    "tokens": 4_000,
                    "seconds": 4.1,
                    "kept": False,
                    "validation": {"mean": 0.87, "low": 0.77, "high": 0.93, "n": 63},
                },
                {"step": "mood", "kind": "adapter", "rows": 63, "skipped": "its 900 seconds do not fit in the time"},
            ],
            "prompt": {"variant": "decide: score", "choices": {}, "changes": {}, "confirm": {**_SIDE, "mean": 0.65}},
            "difference": {**_WEIGHTS_GAIN},
            "shown": True,
        },
        "keep": {
            "suite": "old_moods",
            "metric": {"name": "accuracy", "kind": "label", "bounds": [0, 1], "higher_is_better": True},
            "rows": 100,
            "of": 120,
            "left_out": 3,
            "start": {"mean": 0.8, "low": 0.71, "high": 0.87, "n": 100},
            "incumbent": {"mean": 0.79, "low": 0.7, "high": 0.86, "n": 100},
            "difference": {
                **_WEIGHTS_GAIN,
                "mean": -0.01,
                "low": -0.05,
                "high": 0.03,
                "better": 1,
                "worse": 2,
                "n": 100,
            },
            "margin": 0.06,
            "verdict": "equivalent",
        },
        "verdict": "improved",
        "why": "the interval of the difference lies above 0",
        "ordinal": 1,
        "rows_needed": None,
        "rows_for_gain": None,
        "left_out": 0,
        "calls_for_all": None,
        "smallest_shown": 0.1,
        "ablation": [
            {
                "axis": "mood.decide",
                "level": "score",
                "about": "labels by their probability",
                "difference": 0.08,
                "low": 0.01,
                "high": 0.15,
                "on": "confirm",
                "skipped": None,
            },
            {
                "axis": "mood.examples",
                "level": "4, draw 2",
                "about": "",
                "difference": 0.03,
                "low": None,
                "high": None,
                "on": "search",
                "skipped": "the budget has no calls left",
            },
        ],
        "turned": {
            "better": 22,
            "worse": 8,
            "rows": [turned_row(at, "better" if at % 2 else "worse") for at in range(1, 11)],
        },
        "curve": [
            curve_point(120, 5, 1.0, start=0.6),
            curve_point(200, 20, 0.85, start=0.55),
            curve_point(313, 40, 0.82),
        ],
        "calls": 597,
        "cached": 12,
        "tokens": 40111,
        "seconds": 71.2,
        "stopped_by": "done",
        "diff": DIFF,
        "written": ["templates/prompts/mood.tuned.j2", "pipelines/mood.tuned.yaml"],
        "applied": False,
        "notes": ["`score` is not tried for reply: its answer is text"],
        **more,
    }
