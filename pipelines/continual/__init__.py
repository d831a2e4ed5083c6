"""Data sets that are learnt one after the other, and what is forgotten of the earlier ones."""
