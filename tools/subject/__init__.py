"""Brokers under test as processes: what they share, and ours."""

from tools.subject.ottla import Ottla
from tools.subject.ports import free_port
from tools.subject.process import Process, Subject, answers
from tools.subject.wait import until

__all__ = ["Ottla", "Process", "Subject", "answers", "free_port", "until"]
