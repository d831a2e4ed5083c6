"""What a model makes of texts without labels: rows to learn from, and rows worth labelling."""
