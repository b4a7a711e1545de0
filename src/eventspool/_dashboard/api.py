"""
The JSON endpoints: an ``eventspool.Queue`` over HTTP. A request that changes something is a POST, and refused when read-only.

Handlers are plain functions. Starlette runs them in threads, so that a slow queue holds up no other request.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from dataclasses import asdict
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from eventspool._dashboard import acts
from eventspool._dashboard.asked import choice_of, named_in, number_in, read_body, state_in
from eventspool._dashboard.dataplane import DataPlaneError
from eventspool._dashboard.day import points
from eventspool._dashboard.health import judge
from eventspool._dashboard.history import History
from eventspool._dashboard.reading import as_curl, line, pretty, visible
from eventspool._dashboard.searching import conditions_of, search_on
from eventspool._dashboard.seldom import Seldom
from eventspool._dashboard.visitor import is_read_only, queue_of
from eventspool._exceptions import ConfigError, EventSpoolError, QueueUnavailable
from eventspool._job import JobState
from eventspool._operate.past import Past
from eventspool._operate.selection import PAGE, Selection, walk
from eventspool._operate.standing import stored
from eventspool._operate.survey import stand
from eventspool._reasons import meaning_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from starlette.requests import Request

    from eventspool._dashboard.dataplane import LocalDataPlane
    from eventspool._job import Job
    from eventspool._operate.diagnosis import Trouble
    from eventspool._operate.queue import Queue

__all__ = ["Api", "as_json"]

CONFIRMATION = "purge"
_SHOWN = 50
_DAY_SECONDS = 86_400.0
_POINTS = 240
"""Points of a chart, at most: more than these are no wider than a line."""
_SEARCHED_PAGES = 10
"""Pages of a list that one request looks through for a reason. The browser asks for the rest with the answer's ``next``."""
_EVENTS_AT_ONCE = 20
_CHUNK_BYTES = 1 << 16


class Api:
    """
    Args:
        queue: The queue that is shown.
        name: The name under which it is shown.
        read_only: Refuse every request that changes something.
        dataplane: The local data plane, where there is one.
        is_one_of_several: The dashboard shows other queues, too.
    """

    def __init__(
        self,
        queue: Queue,
        *,
        name: str,
        read_only: bool,
        dataplane: LocalDataPlane | None,
        is_one_of_several: bool = False,
    ) -> None:
        self.name = name
        self._queue = queue
        self._history = History(queue, name)
        self._past = Past(queue)
        self._seldom = Seldom()
        self._read_only = read_only
        self._dataplane = dataplane
        self._is_one_of_several = is_one_of_several

    def routes(self) -> list[Route]:
        """Return the endpoints, with paths relative to the place where they are mounted."""
        reads: dict[str, Callable[[Request], dict[str, Any] | Response]] = {
            "/overview": self._overview,
            "/history": self._day,
            "/jobs": self._jobs,
            "/jobs/{job_id}": self._job,
            "/search": self._look_for,
            "/chosen": self._chosen,
            "/inbox": self._inbox,
            "/event": self._event,
            "/export": self._export,
            "/trail": lambda request: acts.read_trail(self._queue, request.query_params),
            "/fates": lambda request: acts.find_fates(self._queue, request.query_params.getlist("id")),
            "/repeated": lambda request: acts.count_repeated(
                self._queue,
                request.query_params.get("reason"),
                time.time(),
                named=bool(request.query_params.get("named")),
            ),
        }
        changes: dict[str, Callable[[Queue, Mapping[str, Any]], dict[str, Any]]] = {
            "/retry": self._retry,
            "/purge": self._purge,
            "/pause": acts.pause,
            "/resume": acts.resume,
            "/edit": acts.edit,
            "/faults": self._faults,
        }
        routes = [Route(path, _get(handler), methods=["GET"]) for path, handler in reads.items()]
        routes += [Route(path, self._post(handler), methods=["POST"]) for path, handler in changes.items()]
        return [*routes, Route("/export", self._export_exactly, methods=["POST"])]

    def summary(self) -> dict[str, Any]:
        """Return how the queue stands, for a list of several. Raises ``QueueUnavailable``."""
        look = self._history.look()
        samples = self._history.samples()
        stats = look.stats
        minutes = self._past.minutes()
        standing = stand(self._queue, stats, look.at, minutes)
        return {
            "verdict": asdict(judge(look, samples[-1].out if samples else None)),
            "pending": stats.waiting.events + stats.delayed.events + stats.leased.events,
            "failed": stats.failed.events,
            "failed_jobs": stats.failed.jobs,
            "oldest_age": stats.oldest_age,
            "processors": len(look.processors),
            "paused": stats.paused,
            "into": samples[-1].into if samples else None,
            "out": samples[-1].out if samples else None,
            "bytes": stored(stats)[1],
            "fill": standing.fill,
            "full_in": standing.full_in,
            "lag_p95": minutes[0][1].lag_p95 if minutes else None,
        }

    def _overview(self, request: Request) -> dict[str, Any]:
        since = number_in(request, "since", 0.0)
        look = self._history.look()
        samples = self._history.samples()
        return {
            "now": time.time(),
            "queue": self.name,
            "several": self._is_one_of_several,
            "read_only": self._read_only or is_read_only(request),
            "pause": acts.tell_pause(self._queue) if look.stats.paused else None,
            "verdict": asdict(judge(look, samples[-1].out if samples else None)),
            "troubles": [_trouble(each) for each in look.troubles],
            "stats": look.stats.as_dict(),
            "processors": [_processor(p) for p in look.processors],
            "answers": look.answers,
            "partitions": [asdict(each) for each in look.partitions],
            "samples": [asdict(sample) for sample in samples if sample.at > since],
            "dataplane": None if self._dataplane is None else self._dataplane.url,
        }

    def _day(self, request: Request) -> dict[str, Any]:
        """Answer with what the queue has noted of itself, for charts that begin before the page was opened."""
        span = min(number_in(request, "span", _DAY_SECONDS), _DAY_SECONDS)
        return {"now": time.time(), "points": points(self._past.minutes(), time.time(), span, _POINTS)}

    def _jobs(self, request: Request) -> dict[str, Any]:
        state = state_in(request.query_params)
        reason = request.query_params.get("reason")
        limit = min(max(1, int(number_in(request, "limit", _SHOWN))), PAGE)
        after = request.query_params.get("after") or None
        jobs, following = self._seldom.ask(
            (state, reason, after, limit), lambda: self._search(state, reason, after, limit)
        )
        reasons = self._seldom.ask("reasons", self._queue.failed_reasons) if state is JobState.FAILED else {}
        return {
            "now": time.time(),
            "jobs": [_job(job) for job in jobs],
            "next": following,
            "reasons": [
                {"reason": name, "title": visible(name), "meaning": meaning_of(name), **asdict(depth)}
                for name, depth in sorted(reasons.items(), key=lambda item: (-item[1].jobs, item[0]))
            ],
        }

    def _search(
        self, state: JobState, reason: str | None, after: str | None, limit: int
    ) -> tuple[list[Job], str | None]:
        """
        Return the jobs behind *after*, and the id behind which the next request goes on; ``None`` at the end of the list.

        Between two jobs with *reason* there may be many others, so the answer may be short and yet not the last.
        """
        jobs: list[Job] = []
        chosen = Selection((state,), reason=reason)
        size, most = (limit, 1) if reason is None else (PAGE, _SEARCHED_PAGES)
        for page in islice(walk(self._queue, state, after=after, size=size), most):
            jobs += filter(chosen.matches, page)
            if len(page) < size:
                return jobs, None
            after = page[-1].id
            if len(jobs) >= limit:
                break
        return jobs, after

    def _look_for(self, request: Request) -> dict[str, Any]:
        return search_on(self._queue, request.query_params, _job)

    def _job(self, request: Request) -> dict[str, Any]:
        start = max(0, int(number_in(request, "from", 0)))
        events = self._queue.events(request.path_params["job_id"], is_exact=True)
        shown = events[start : start + _EVENTS_AT_ONCE]
        address = None if self._dataplane is None else self._dataplane.batches
        return {
            "total": len(events),
            "from": start,
            "events": [
                {**line(event), "json": pretty(event), "curl": as_curl(event, address)} for event in shown
            ],
        }

    def _chosen(self, request: Request) -> dict[str, Any]:
        """Name the jobs that a purge is about, and count their events: exactly the jobs named here will be purged."""
        chosen = Selection((state_in(request.query_params),), reason=request.query_params.get("reason"))
        # A job that moves meanwhile may come twice.
        found = {job.id: job.events for page in chosen.pages(self._queue) for job in page}
        return {"ids": list(found), "events": sum(found.values())}

    def _retry(self, queue: Queue, body: Mapping[str, Any]) -> dict[str, Any]:
        ids, reason = choice_of(body)
        state = state_in(body)
        if state is JobState.DELAYED and reason is None:
            return {"retried": queue.retry_now(ids)}
        if state is not JobState.FAILED:
            raise ConfigError("failed jobs are retried by id, for a reason or all; delayed ones by id or all")
        return {"retried": queue.retry_failed(ids, reason)}

    def _purge(self, queue: Queue, body: Mapping[str, Any]) -> dict[str, Any]:
        if body.get("confirm") != CONFIRMATION:
            raise ConfigError(f"confirm must be {CONFIRMATION!r}: purged events are gone for good")
        ids, _ = choice_of(body)
        if ids is None:  # more jobs may have failed since the operator was asked
            raise ConfigError("give the ids of the jobs to purge: what you have not seen is not purged")
        return {"purged": queue.purge(state_in(body), ids=ids)}

    def _inbox(self, request: Request) -> dict[str, Any]:
        plane = self._require_dataplane()
        return {
            "now": time.time(),
            "stats": plane.stats(),
            "events": plane.inbox(request.query_params.get("search", "")[:200]),
        }

    def _event(self, request: Request) -> dict[str, Any]:
        return self._require_dataplane().event(request.query_params.get("id", ""))

    def _faults(self, queue: Queue, body: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        rules = body.get("rules")
        if not isinstance(rules, list) or not all(isinstance(rule, str) for rule in rules):
            raise ConfigError("rules must be an array of fault rules, as text")
        self._require_dataplane().set_faults(rules)
        return {"ok": True}

    def _export(self, request: Request) -> Response:
        """Answer with a file of the events, one a line. It changes nothing, so it is allowed when read-only."""
        query = request.query_params
        queue = queue_of(request, self._queue)
        return self._file(queue, state_in(query), query.getlist("id") or None, **conditions_of(query))

    async def _export_exactly(self, request: Request) -> Response:
        """Answer with the events of the jobs that the body names, which may be more than an address can hold."""
        body = await read_body(request) or {}
        queue = queue_of(request, self._queue)
        return await run_in_threadpool(_guarded, lambda: self._file(queue, state_in(body), **named_in(body)))

    def _file(self, queue: Queue, state: str, ids: list[str] | None, **conditions: Any) -> Response:
        with tempfile.TemporaryDirectory(prefix="eventspool-") as folder:
            path = Path(folder) / "events.jsonl"
            events = queue.export(path, state, ids=ids, **conditions)
            file = path.open("rb")  # its name is deleted here, so no file stays, however the download ends
        name = f"{state}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.jsonl"
        headers = {
            "Cache-Control": "no-store",
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Length": str(os.fstat(file.fileno()).st_size),
            # Jobs that cannot be read are not in the file. The page compares this number before it purges.
            "Eventspool-Events": str(events),
        }
        return StreamingResponse(_chunks(file), headers=headers, media_type="application/x-ndjson")

    def _require_dataplane(self) -> LocalDataPlane:
        if self._dataplane is None:
            raise ConfigError("no local data plane was given; --dataplane names one")
        return self._dataplane

    def _post(
        self, handler: Callable[[Queue, Mapping[str, Any]], dict[str, Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            if is_read_only(request):
                return as_json({"error": "your token is read-only: it changes nothing"}, HTTPStatus.FORBIDDEN)
            if self._read_only:
                return as_json({"error": "the dashboard is read-only"}, HTTPStatus.FORBIDDEN)
            body = await read_body(request)
            if body is None:
                return as_json({"error": "the body must be a JSON object"}, HTTPStatus.BAD_REQUEST)

            def act() -> Response:
                answer = _guarded(lambda: handler(queue_of(request, self._queue), body))
                self._seldom.forget()  # also where it failed: it may have been done by half
                if answer.status_code == HTTPStatus.OK:
                    with contextlib.suppress(
                        EventSpoolError
                    ):  # it is done, whether or not the queue answers again
                        self._history.look(fresh=True)
                return answer

            return await run_in_threadpool(act)

        return endpoint


def _get(handler: Callable[[Request], dict[str, Any] | Response]) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        return _guarded(lambda: handler(request))

    return endpoint


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _guarded(act: Callable[[], dict[str, Any] | Response]) -> Response:
    """Answer with what *act* returns, or with what was wrong."""
    try:
        answer = act()
        return answer if isinstance(answer, Response) else as_json(answer)
    except EventSpoolError as error:
        return _refusal(error)


def _refusal(error: EventSpoolError) -> Response:
    """Answer with the text of *error*: our own errors hold no payload and no password."""
    status = HTTPStatus.CONFLICT
    if isinstance(error, QueueUnavailable):
        status = HTTPStatus.SERVICE_UNAVAILABLE
    elif isinstance(error, ConfigError):
        status = HTTPStatus.BAD_REQUEST
    elif isinstance(error, DataPlaneError):
        status = HTTPStatus.BAD_GATEWAY
    return as_json({"error": str(error)}, status)


def as_json(body: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Answer with *body*."""
    # ASCII, because an id that is half a surrogate pair has no UTF-8 form.
    data = json.dumps(body, separators=(",", ":"), allow_nan=False)
    return Response(data, status, {"Cache-Control": "no-store"}, "application/json")


def _job(job: Job) -> dict[str, Any]:
    return {
        **asdict(job),
        "reason": visible(job.reason),
        "error": visible(job.error, 500),
        "title": visible(job.id, 40),
    }


def _processor(processor: Any) -> dict[str, Any]:
    shown = asdict(processor)
    for name in ("host", "version", "last_error"):
        shown[name] = visible(shown[name])
    return shown


def _trouble(trouble: Trouble) -> dict[str, Any]:
    return {**trouble.as_dict(), "title": trouble.title, "cause": visible(trouble.cause, 500)}
