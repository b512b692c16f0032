"""A broker in a test: clocks moved by hand, a loop on virtual time, a network in memory."""
