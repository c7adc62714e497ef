"""How a graph becomes a file of each format."""
