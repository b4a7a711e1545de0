"""Event names and properties of an attacker who wants the page to run them."""

from __future__ import annotations

from typing import Any

MARK = "window.pwned=(window.pwned||0)+1"

TEXTS = [
    f"<script>{MARK}</script>",
    f"</script><script>{MARK}</script>",
    f"<img src=x onerror='{MARK}'>",
    f"<svg/onload={MARK}>",
    f"<svg><animate onbegin={MARK} attributeName=x dur=1s>",
    f'"><body onload={MARK}>',
    f"' autofocus onfocus={MARK} x='",
    f"<details open ontoggle={MARK}>",
    f"<iframe srcdoc='<script>parent.{MARK}</script>'></iframe>",
    f"<a href='javascript:{MARK}'>click</a>",
    f"javascript:{MARK}//",
    f"data:text/html,<script>{MARK}</script>",
    f"<math><mi//xlink:href='data:x,<script>{MARK}</script>'>",
    f"<noscript><p title='</noscript><img src=x onerror={MARK}>'>",
    f"<template><script>{MARK}</script></template>",
    f"<style>*{{background:url('javascript:{MARK}')}}</style><link rel=stylesheet href=//evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=http://evil.example'><base href=http://evil.example/>",
    f"${{{MARK}}}{{{{constructor.constructor('{MARK}')()}}}}",
    f"]]><!--<script>--><script>{MARK}</script>",
    f"\\u003cscript\\u003e{MARK}\\u003c/script\\u003e",
    f"&lt;script&gt;{MARK}&lt;/script&gt;",
    "\u202egnp.eman\u202c \u2066hidden\u2069 \u200b\ufeff\u0000\u001b[31mred\u0007",
    "Z\u0351\u036b\u0343\u036a\u0302\u036b" * 40,
    "ﷺ" * 300 + "𒐫" * 300,
    "\ud83d\ude00 ok \u2028 \u2029",
    "__proto__",
    "constructor",
    "toString",
    "../../api/purge",
    "?token=x&id=1#/failures",
    " ",
]


def events() -> list[tuple[str, dict[str, Any]]]:
    """Return each text as the name of an event, as key and as value; and shapes that break careless code."""
    corpus = [(text, {"value": text, text: text, "nested": [{text: [text]}]}) for text in TEXTS]
    deep: Any = "bottom"
    for _ in range(60):
        deep = {"d": [deep]}
    corpus += [
        (
            "prototype keys",
            {"__proto__": {"polluted": True}, "constructor": {"prototype": {"polluted": True}}},
        ),
        ("array keys", {str(number): number for number in range(500)} | {"length": -1}),
        ("deep", {"deep": deep}),
        ("numbers", {"big": 2**63, "small": -1e-300, "large": 1e300, "zero": -0.0}),
        ("long key", {"k" * 5000: "<b>" * 4000}),
    ]
    return corpus


def huge() -> tuple[str, dict[str, Any]]:
    """Return an event with a string of a megabyte, and a name that is long too."""
    return (
        "<b>huge</b>" * 500,
        {"megabyte": f"<script>{MARK}</script>" * (1_000_000 // 50), "quotes": '\\"' * 50_000},
    )
