"""Reports: text that is safe in a terminal, progress, traces, tables, HTML pages and exports.

`output`, `text` and `layout` load neither rich nor the engine.
"""
