"""Adapters to servers that speak Ollama's or OpenAI's protocol."""
