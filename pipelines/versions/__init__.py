"""Versions of a served model: which is wanted, how a candidate is tried, when it takes over, when it goes back."""
