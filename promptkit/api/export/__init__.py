"""A target as something that runs elsewhere: a folder, a container, a model of Ollama."""
