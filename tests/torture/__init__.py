"""
Torture: producers, workers, Redis and the data plane as real processes, and every fault that can be made among them.

``python -m torture --backend redis --seconds 60 --seed 7`` (with ``tests`` on the path) runs one. What must hold is decided
by ``verdict``, from what an independent ledger and the data plane wrote down.
"""
