"""Reusable widgets and the look of Snug: values in, signals out; no services, no pages, no files."""
