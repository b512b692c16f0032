"""The same requests to any broker, in every version: what Kafka answers, we answer.

`talk` sends and keeps, the `ask_*` modules say what is asked of each API, `normal`
takes out what differs from run to run, `golden` reads and writes what the real
Kafka said, `differences` lists where we do otherwise, each with its reason.
"""
