"""TFLite files: read with bounds, checked, described."""
