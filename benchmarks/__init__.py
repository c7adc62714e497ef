"""Latency measurements on the host and on devices."""
