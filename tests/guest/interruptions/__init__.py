"""
Interrupts calls at every line: ``python -m guest.interruptions --help`` (with ``PYTHONPATH=tests``).

One *round* is one process. It plays one scenario on one backend, and at one chosen point of our code, on the caller's thread
or on one of ours, something happens that a host's program can make happen there. Afterwards every promise must hold.

What happens (*kind*)
    ``error``, ``timeout``, ``stop``: an ``Exception``, a ``TimeoutError`` (which is an ``OSError``, as drivers expect them) or
    a ``BaseException`` is raised, as by a signal handler; ``memory``: a ``MemoryError``; ``log``: a log handler of the host's
    raises; ``track``, ``flush``, ``close``: nothing is raised, but an event is tracked, a flush is waited for, or the client
    is closed, as by a destructor that the collector happens to run there.

Where (*point*)
    An instruction of a function of ours. A signal handler runs only where the interpreter looks for signals: at the start of
    a function, after a call, at a jump back. So a point is, first, the instruction that follows a call, if an exception there
    goes to the same handler as one from the call; and, second, the first instruction of a line. The second is more than
    signals can reach, but ``MemoryError`` can, and it is what readers mean by "at any line".

    The trace function of CPython can raise in places where nothing can in reality. Known are two: on leaving ``with lock:`` a
    line event comes before the call of ``__exit__``, and on leaving ``try:`` one comes at the first line of ``finally:``. An
    exception there would leave the lock taken, although everything that really raises does so either inside the block or
    after the release. The rule that recognises exactly these: control came to the instruction by *leaving* a guarded range
    (the table of exception handlers says so), and no call was made since. The same holds for the lines of a handler before
    its first call. (Since Python 3.12 lines alone are seen, and the instruction that stands before one has to tell.)

    Functions of ``threading`` and ``contextlib`` that ours call on the caller's thread count, too: a ``Condition`` is taken in
    Python code, so a signal can come between taking it and knowing it.
"""
