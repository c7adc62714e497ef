"""From an image to a tensor, from masks to segments, and pictures of both."""
