"""
The demo: real purchases, a data plane that misbehaves, a process that is killed again and again, and the account of it.

This package plays it and prints nothing; ``eventspool._cli`` shows it on the terminal.
"""

from eventspool._demo.conductor import run_demo
from eventspool._demo.result import DemoError, DemoOptions, DemoResult, Incident, Narrator, Progress

__all__ = ["DemoError", "DemoOptions", "DemoResult", "Incident", "Narrator", "Progress", "run_demo"]
