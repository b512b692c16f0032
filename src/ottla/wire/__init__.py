"""Requests and responses as bytes.

The schemas in `schema/` are the source; `tools/wiregen` makes the typed classes
in `generated/` from them, and `codec` the straight-line code that reads and
writes one version of one class, when it is first used.
"""
