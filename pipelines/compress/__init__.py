"""Smaller and faster forms of a trained model, each held against what it was made of."""
