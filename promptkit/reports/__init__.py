"""What people look at: safe text, progress lines, the trace tree, comparisons of answers.

`import promptkit.reports` is cheap; what needs the engine or rich is loaded by the name that uses it.
"""
