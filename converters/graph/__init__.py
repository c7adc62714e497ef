"""The network as data: operations, a builder that records them, an evaluator, and a printer."""
