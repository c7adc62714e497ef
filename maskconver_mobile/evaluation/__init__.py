"""How good a model is, and how far two agree."""
