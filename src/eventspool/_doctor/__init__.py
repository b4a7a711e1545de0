"""
What is wrong with a set-up, and what to do about it.

The modules named ``…_facts`` ask servers and files for *facts*; each check is a pure function from facts to *findings*. So a
check can be read and tested without a server, and what it decides does not depend on when it is asked.
"""

from eventspool._doctor.examine import Examination, examine
from eventspool._doctor.finding import Finding, Severity

__all__ = ["Examination", "Finding", "Severity", "examine"]
