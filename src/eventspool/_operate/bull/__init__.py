"""
Take over what a Node SDK left in a queue of Bull's, a job queue for Node.js in Redis. Nothing of it is ever evaluated.

``literal`` reads the text of a job, ``batch`` finds the events in it, ``source`` is Bull's queue in Redis, and ``importing``
hands the jobs over.
"""
