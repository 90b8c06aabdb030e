"""The engines. They run only inside the engine process; each is the only place that imports its native library.

To add one: a module or package here with a subclass of `engines.base.Engine`, and one line in `engines.registry`.
"""
