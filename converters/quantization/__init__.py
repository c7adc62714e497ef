"""What is the same for every format that quantizes."""
