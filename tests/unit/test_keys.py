"""Which texts are keys. None of what is refused may be repeated in the message."""

from __future__ import annotations

import base64

import pytest

from eventspool._encryption import parse_keys
from eventspool._exceptions import ConfigError

KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.mark.parametrize(
    "given",
    [
        base64.b64encode(bytes(31)).decode(),
        base64.b64encode(bytes(33)).decode(),
        KEY[:-1],  # its padding is gone
        f"{KEY[:10]}!{KEY[10:]}",  # other decoders pass over what is not of the alphabet
        "",
        [KEY, ""],
        f"{KEY},",
    ],
)
def test_what_is_no_key_is_refused_with_a_way_to_make_one(given):
    with pytest.raises(ConfigError, match="32 random bytes as base64 text: make one with: openssl") as caught:
        parse_keys(given)
    assert KEY[:10] not in str(caught.value)


@pytest.mark.parametrize("given", [[], ()])
def test_no_key_at_all_is_refused(given):
    with pytest.raises(ConfigError, match="holds no key"):
        parse_keys(given)


@pytest.mark.parametrize("given", [7, {KEY}, KEY.encode(), None])
def test_another_type_is_refused(given):
    with pytest.raises(ConfigError, match="a string or a list of them, not"):
        parse_keys(given)


def test_a_list_holds_strings_alone():
    with pytest.raises(ConfigError, match="must hold strings, not bytes"):
        parse_keys([KEY, KEY.encode()])
