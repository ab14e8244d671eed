"""Measuring: suites, their runs and statistics; and choosing a technique on evidence (`evaluation.choosing`).

suite = load_suite(path, project)
evaluation = Evaluation(suite, models=models, store=store)
await evaluation.open()
evaluated = await evaluation.run()
"""
