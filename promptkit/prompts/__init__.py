"""Prompts: from a file and values to the messages that are sent."""
