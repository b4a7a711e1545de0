"""In the place of ``rudderstack.analytics.client``."""

from eventspool.compat._client import PeerClient
from eventspool.compat._peer import Peer

__all__ = ["Client"]

_LARGEST = 4 << 20


class Client(PeerClient):
    __doc__ = PeerClient.__doc__
    PEER = Peer(
        "eventspool.compat.rudder",
        gzip=True,
        max_event_bytes=_LARGEST,
        max_batch_bytes=_LARGEST + 1024,
        integrations={"All": True},
        has_root_traits=False,
        has_channel=True,
    )
