"""The nouns: identifiers, errors, and the protocols of clock, workers and randomness.

Nothing here imports anything else of Ottla, and nothing here does I/O.
"""
