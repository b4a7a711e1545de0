"""
What is wrong with a set-up, and what to do about it.

A thin edge asks the servers for *facts*; each check is a pure function from facts to *findings*. So a check can be read,
and tested, without a server, and nothing that it decides depends on when it is asked.
"""

from eventspool._doctor.examine import Examination, examine
from eventspool._doctor.finding import Finding, Severity

__all__ = ["Examination", "Finding", "Severity", "examine"]
