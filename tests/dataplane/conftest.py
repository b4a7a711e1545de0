"""A small client that does nothing clever: one request, one answer, over real sockets."""

from __future__ import annotations

import base64
import contextlib
import gzip
import http.client
import itertools
import json
import socket

import pytest

from eventspool._dataplane import DataPlane

_numbers = itertools.count()


def make_event(message_id=None, **fields):
    """Return a complete track event; *fields* replace its own."""
    return {
        "type": "track",
        "event": "Order Completed",
        "userId": "u1",
        "messageId": message_id or f"m{next(_numbers)}",
        "timestamp": "2026-01-01T00:00:00.000Z",
        **fields,
    }


def encode(events, **outer):
    """Return the JSON of a batch."""
    return json.dumps({"batch": events, "sentAt": "2026-01-01T00:00:01.000Z", **outer}).encode()


def batch_headers(write_key="local-write-key", **more):
    """Return the headers of a gzipped batch."""
    credentials = base64.b64encode(f"{write_key}:".encode()).decode()
    return {
        "Authorization": f"Basic {credentials}",
        "Content-Type": "application/json",
        "Content-Encoding": "gzip",
        **more,
    }


class Caller:
    """Talks to one data plane over one kept connection."""

    def __init__(self, plane, timeout=60.0):
        self.connection = http.client.HTTPConnection(plane.host, plane.port, timeout=timeout)

    def post(self, *events, write_key="local-write-key"):
        """Post a batch and return (status, decoded JSON, headers)."""
        return self.send(gzip.compress(encode(events)), batch_headers(write_key))

    def send(self, body, headers, path="/v1/batch", method="POST"):
        try:
            self.connection.request(method, path, body, headers)
            answer = self.connection.getresponse()
            text = answer.read()
        except BaseException:
            self.connection.close()  # http.client would refuse to send again
            raise
        is_json = answer.headers["Content-Type"] == "application/json" and text
        return answer.status, json.loads(text) if is_json else text, answer.headers

    def get(self, path, **headers):
        return self.send(None, headers, path, "GET")

    def close(self):
        self.connection.close()


@pytest.fixture
def event():
    return make_event


@pytest.fixture
def batch_of():
    return encode


@pytest.fixture
def headers():
    return batch_headers


@pytest.fixture
def start_plane():
    """Start data planes that the test's end stops."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(DataPlane(*args, **options))


@pytest.fixture
def plane(start_plane):
    return start_plane()


@pytest.fixture
def call():
    """Open callers that the test's end closes."""
    with contextlib.ExitStack() as stack:

        def open_caller(plane, **options):
            caller = Caller(plane, **options)
            stack.callback(caller.close)
            return caller

        yield open_caller


@pytest.fixture
def dial():
    """Open raw sockets that the test's end closes."""
    with contextlib.ExitStack() as stack:

        def open_socket(plane, timeout=60.0):
            return stack.enter_context(socket.create_connection((plane.host, plane.port), timeout=timeout))

        yield open_socket


@pytest.fixture
def read_all():
    """Read a raw socket until the other side is done."""

    def read(sock):
        received = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while chunk := sock.recv(65536):
                received += chunk
        return bytes(received)

    return read


@pytest.fixture
def raw_post():
    """Return the bytes of a request that posts a body."""

    def encode_request(body, headers, *lines):
        head = [
            "POST /v1/batch HTTP/1.1",
            "Host: localhost",
            *(f"{k}: {v}" for k, v in headers.items()),
            *lines,
        ]
        return ("\r\n".join(head) + "\r\n\r\n").encode() + body

    return encode_request
