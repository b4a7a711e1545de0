"""In the place of ``segment.analytics.client``."""

from eventspool.compat._client import PeerClient
from eventspool.compat._peer import Peer

__all__ = ["Client"]


class Client(PeerClient):
    __doc__ = PeerClient.__doc__
    PEER = Peer("eventspool.compat.segment")
