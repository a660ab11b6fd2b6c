"""isthmus maps the loss landscape of your own neural network."""
