"""The networks, plainly: backbones, decoders, heads, and what joins them; no target, no format."""
