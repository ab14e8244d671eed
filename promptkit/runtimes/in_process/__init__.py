"""Models that run in the process, by llama.cpp, and where their weights come from."""
