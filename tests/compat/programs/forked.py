"""A parent and its child send through one client. No SDK of the family can do that."""

import os
import sys

from segment.analytics.client import Client

client = Client("KEY", host=os.environ["DATA_PLANE"])
client.track("u1", "Parent")
client.flush()
child = os.fork()
client.track("u1", "Parent Again" if child else "Child")
client.shutdown()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
