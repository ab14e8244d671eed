"""Training for a step of a pipeline: adapters, soft prompts, and heads on frozen vectors."""
