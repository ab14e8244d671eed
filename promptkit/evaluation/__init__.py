"""Evaluation: suites, cells, metrics, statistics, comparison, thresholds, error analysis, recommendation.

suite = load_suite(path, project)
evaluation = Evaluation(suite, models=models, store=store)
await evaluation.open()
result = await evaluation.run()
"""
