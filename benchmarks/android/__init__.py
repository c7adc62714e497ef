"""Latency on phones behind adb."""
