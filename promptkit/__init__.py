"""promptkit: structured prompts, YAML pipelines and prompting techniques on local language models."""
