"""Latency on this machine."""
