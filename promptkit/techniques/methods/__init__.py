"""Methods that techniques share: clusters of rows, programs, table operations, sub-questions, logic."""
