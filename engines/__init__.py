"""Everything about models and machines: files, engines, child processes. No Qt, nothing of `desktop`.

The package exports nothing here; import the module that you need. Native engine libraries are imported only
inside `engines.backends.*`, which run only inside the engine process (`engines.workers.engine`).
"""
