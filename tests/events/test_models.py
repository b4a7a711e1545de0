"""A pydantic model is written as pydantic writes it, but for the kinds of values that all events write in one way."""

from __future__ import annotations

import dataclasses
import enum
import ipaddress
import json
import re
import typing
import uuid
import warnings
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pydantic
import pydantic.dataclasses
import pytest

from eventspool._exceptions import EventError

if typing.TYPE_CHECKING:
    from collections.abc import Callable

AT = datetime(2026, 11, 23, 17, 26, 0, 123456, UTC)


class Shade(enum.Enum):
    DARK = "dark"


class Masked(pydantic.Secret[date]):
    def _display(self) -> str:
        return "****-**-**"


class Link(pydantic.BaseModel):
    site: pydantic.HttpUrl = pydantic.HttpUrl("https://shop.example/basket?a=1")


class Everything(pydantic.BaseModel):
    any_url: pydantic.AnyUrl = pydantic.AnyUrl("ftp://files.example/x")
    dsn: pydantic.RedisDsn = pydantic.RedisDsn("redis://cache.example/0")
    hosts: pydantic.PostgresDsn = pydantic.PostgresDsn("postgres://a.example,b.example/x")
    secret: pydantic.SecretStr = pydantic.SecretStr("hush")
    empty: pydantic.SecretStr = pydantic.SecretStr("")
    raw: pydantic.SecretBytes = pydantic.SecretBytes(b"hush")
    born: Masked = Masked(date(1990, 1, 1))
    address: pydantic.IPvAnyAddress = ipaddress.ip_address("10.0.0.1")
    path: Path = Path("/a/b")
    pattern: re.Pattern[str] = re.compile("a+")
    size: pydantic.ByteSize = pydantic.ByteSize(10)
    count: pydantic.PositiveInt = 3
    name: typing.Annotated[str, pydantic.StringConstraints(max_length=9)] = "x"
    number: complex = 1j
    by_number: dict[int, Link] = {4: Link()}
    by_shade: dict[Shade, list[Link]] = {Shade.DARK: [Link()]}
    by_id: dict[uuid.UUID, None] = {uuid.UUID(int=1): None}
    by_pair: dict[tuple[int, int], str] = {(1, 2): "x"}
    union: Link | int = Link()
    given: typing.Annotated[int, pydantic.PlainSerializer(hex, when_used="json")] = 255
    total: typing.Annotated[Decimal, pydantic.PlainSerializer(float, when_used="json")] = Decimal("1.5")
    renamed: str = pydantic.Field(default="r", serialization_alias="other")
    left_out: str = pydantic.Field(default="never", exclude=True)

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def computed(self) -> pydantic.HttpUrl:
        return pydantic.HttpUrl("https://computed.example/")


class Tree(pydantic.RootModel[dict[int, "Tree | Link"]]):
    """A root model in itself."""


class Ours(pydantic.BaseModel):
    content: bytes = b"hi"
    price: Decimal = Decimal("1.10")
    took: timedelta = timedelta(minutes=1)
    at: datetime = AT
    prices: set[Decimal] = {Decimal("1.10")}
    deep: dict[int, list[Decimal]] = {1: [Decimal("2.50")]}


OURS = {
    "content": "aGk=",
    "price": Decimal("1.10"),
    "took": Decimal("60.0"),
    "at": "2026-11-23T17:26:00.123Z",
    "prices": [Decimal("1.10")],
    "deep": {"1": [Decimal("2.50")]},
}


@pytest.fixture(autouse=True)
def silent() -> typing.Iterator[None]:
    """Pydantic's warnings show values."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("model", [Link(), Everything(), Tree({1: Tree({2: Link()})})], ids=repr)
def test_pydantics_own_types_are_written_as_pydantic_writes_them(value: Callable[[object], object], model):
    expected = json.loads(model.model_dump_json(), parse_float=Decimal)
    assert value(model) == expected
    assert value({1: [model], "in": (model,)}) == {"1": [expected], "in": [expected]}


def test_what_every_event_writes_in_one_way_is_no_different_in_a_model(value):
    assert value(Ours()) == OURS
    assert value(pydantic.create_model("Outer", inner=(Ours, Ours()))()) == {"inner": OURS}


def test_bytes_that_are_no_text_do_not_cost_a_model_its_event(value):
    class File(pydantic.BaseModel):
        content: bytes = b"\xff\xfe"
        site: pydantic.HttpUrl = pydantic.HttpUrl("https://shop.example/")
        owner: pydantic.SecretStr = pydantic.SecretStr("hush")
        by_floor: dict[int, str] = {1: "lobby"}

    expected = {
        "content": "//4=",
        "site": "https://shop.example/",
        "owner": "**********",
        "by_floor": {"1": "lobby"},
    }
    assert value(File()) == expected


def test_a_wrong_type_in_a_model_shows_no_warning_with_the_value(value):
    assert value(Link.model_construct(site="hush")) == {"site": "hush"}


def test_a_model_that_overrides_its_dump_is_asked(value):
    class Narrow(pydantic.BaseModel):
        n: int = 1

        def model_dump(self) -> dict[str, object]:  # type: ignore[override]
            return {"n": "narrow"}

    class Wide(pydantic.BaseModel):
        firstName: str = "Ada"  # noqa: N815

        def model_dump(self, **options: object) -> dict[str, object]:
            return {"wide": super().model_dump(**options)}

    assert value(Narrow()) == {"n": "narrow"}
    assert value(Wide()) == {"wide": {"firstName": "Ada"}}


def test_a_secret_is_never_revealed_wherever_it_stands(encoder):
    @dataclasses.dataclass
    class Login:
        password: pydantic.SecretStr

    @pydantic.dataclasses.dataclass
    class Checked:
        password: pydantic.SecretStr

    secret = pydantic.SecretStr("hush")
    for given in (secret, [secret], {"k": secret}, Login(secret), Checked(secret), {secret: 1}):
        try:
            encoded = encoder.track("u", "e", {"v": given})[0]
        except EventError as error:
            encoded = str(error).encode()
        assert b"hush" not in encoded


def test_two_keys_that_pydantic_would_merge_are_refused(encoder):
    class Numbered(pydantic.BaseModel):
        by: dict[int | str, str] = {1: "a", "1": "b"}

    with pytest.raises(EventError, match=r"properties\.v\.by: two keys of it become the same text"):
        encoder.track("u", "e", {"v": Numbered()})
