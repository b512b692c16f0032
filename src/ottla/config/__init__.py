"""Settings: declared once, used by broker, handlers, docs and web.

Nothing here does I/O: file text and environment are arguments.
"""
