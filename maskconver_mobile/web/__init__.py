"""Serving the page of `web_demo` on this machine."""
