"""One request -> one response: a file per API family, a table of them in `registry.py`."""
