"""In the place of ``hightouch.htevents.client``."""

from eventspool.compat._client import PeerClient
from eventspool.compat._peer import Peer

__all__ = ["Client"]


class Client(PeerClient):
    __doc__ = PeerClient.__doc__
    PEER = Peer("eventspool.compat.htevents")
