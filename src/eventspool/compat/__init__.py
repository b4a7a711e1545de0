"""
The faces of other SDKs, for a migration that changes an import and nothing else.

    import eventspool.compat.segment as analytics     # was: import segment.analytics as analytics
    import eventspool.compat.rudder as analytics      # was: import rudderstack.analytics as analytics
    import eventspool.compat.htevents as htevents     # was: import hightouch.htevents as htevents

Each has the module settings, the functions and the ``Client`` of its SDK, and in its file a table of their names. Behind the
faces stands one ``eventspool.Client``; what differs all the same is listed in docs/migration.
"""
