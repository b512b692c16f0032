"""Programs that copy a topic in transactions, each with another client; killed, and started again."""
