"""The composite operations of a graph, written out: the panoptic merge plainly and fast."""
