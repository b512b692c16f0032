"""Connections: bytes to requests and answers to bytes, in order."""
