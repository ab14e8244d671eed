"""The constraints that hold a reply to an answer type: the form that a model enforces, grammars and JSON Schemas."""
