"""The llama.cpp engine, on llama-cpp-python's low-level API. Imported only inside the engine process."""
