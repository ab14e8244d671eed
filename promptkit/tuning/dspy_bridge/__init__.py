"""DSPy's optimizers on promptkit's pipelines (extra `dspy`).

A DSPy program is a candidate: the engine answers its rows, under the instructions and demonstrations that the program's
predictors hold. So what an optimizer scores is what is written, to the letter.
"""
