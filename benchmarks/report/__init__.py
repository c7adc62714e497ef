"""What measurements say: numbers, files, pages."""
