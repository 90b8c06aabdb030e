"""What a model file says about itself, read from its header only. No native code, no weights."""
