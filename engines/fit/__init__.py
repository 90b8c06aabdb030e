"""Will a model fit, and how fast will it run: pure functions from values to values. Nothing here reads a file."""
