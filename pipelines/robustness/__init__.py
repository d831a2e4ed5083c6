"""Whether a model says the same of a text that is written a little differently."""
