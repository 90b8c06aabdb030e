"""Entry points of the child processes. Started by name, imported by nobody but `desktop.__main__` in a frozen build."""
