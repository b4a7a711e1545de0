"""Models: the queue in a page, every interleaving of its leases, and the delivery pipeline in virtual time."""
