"""Serving measured beside accuracy: time to first token, speed and throughput at several concurrencies."""
