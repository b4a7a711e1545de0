"""``eventspool health``: a worker's liveness and readiness as an exit status, where no HTTP client is at hand."""

from __future__ import annotations

import http.client
import json
import sys

import click

from eventspool._cli.answer import print_json
from eventspool._cli.health import DEFAULT_HOST, PATHS
from eventspool._cli.kinds import Kind
from eventspool._cli.options import json_option
from eventspool._cli.output import say, say_error

__all__ = ["command"]

_MOST_BYTES = 1 << 16
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - a worker can listen on these, but not every system connects to them


@click.command(short_help="Ask a worker whether it is live, or ready.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    envvar="EVENTSPOOL_HEALTH_PORT",
    required=True,
    show_envvar=True,
    help="The worker's --health-port.",
)
@click.option(
    "--host",
    envvar="EVENTSPOOL_HEALTH_HOST",
    default=DEFAULT_HOST,
    show_default=True,
    show_envvar=True,
    help="The worker's --health-host.",
)
@click.option("--live", "question", flag_value="live", help="Does the process work? If not, restart it.")
@click.option("--ready", "question", flag_value="ready", default="ready", help="Do events flow?  [default]")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=3.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for an answer.",
)
@json_option
def command(port: int, host: str, question: str, timeout: float, *, as_json: bool) -> None:
    """
    Ask a worker that runs with --health-port whether it is live, or ready.

    The exit status is 0 for yes, and 1 for no or when no worker answers.

    \b
    Examples:
      eventspool health --port 8181
      EVENTSPOOL_HEALTH_PORT=8181 eventspool health --live
    """
    try:
        status, answer = _ask(host, port, PATHS[question], timeout)
        told = answer.get("troubles")
        troubles = [each for each in told if isinstance(each, dict)] if isinstance(told, list) else []
        reason = "" if status == 200 else str(answer.get("reason") or f"it answered {status}")
    except (OSError, http.client.HTTPException, ValueError):
        reason = f"no worker answers on {host}:{port}; was it started with --health-port?"
        troubles = []
    if as_json:
        more = {"troubles": troubles} if question == "ready" else {}
        print_json(Kind.HEALTH, {question: not reason, "reason": reason or None, **more})
    elif reason:
        say_error(f"not {question}: {reason}")
    else:
        say(question)
    if not as_json:
        for each in troubles:
            say(f"{each.get('severity')}: {each.get('cause')} [{each.get('code')}]\n  {each.get('remedy')}")
    sys.exit(1 if reason else 0)


def _ask(host: str, port: int, path: str, timeout: float) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection(_EVERYWHERE.get(host, host), port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        found = json.loads(answer.read(_MOST_BYTES))
        return answer.status, found if isinstance(found, dict) else {}
    finally:
        connection.close()
