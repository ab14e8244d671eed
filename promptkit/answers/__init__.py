"""Answer types: how an answer is worded, written, parsed, constrained, compared and decided."""
