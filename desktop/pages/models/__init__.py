"""The models page: what fits on this computer, before anything is downloaded."""
