"""A small asynchronous client of the protocol, for the command line, the console and examples.

It works against any broker that speaks Kafka's protocol, not only Ottla.
"""
