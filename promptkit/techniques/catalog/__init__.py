"""The shipped techniques that make several calls, one module each, named as in YAML."""
