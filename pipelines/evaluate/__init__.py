"""How good a model is on data that it was not trained on, and how sure that is."""
