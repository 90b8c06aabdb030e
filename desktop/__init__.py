"""The application: window, pages, terminal commands and what they remember. Models are the business of `engines`."""
