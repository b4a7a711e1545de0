"""
A backend whose payloads are encrypted on their way in and decrypted on their way out.

It stands between the pipeline and the storage, so it covers every way there: new batches, the rest of a batch of which a
part failed, events handed over from memory, and the error texts, which may quote what the data plane said of an event.
Ids, times, sizes, numbers of events, reasons and positions stay readable: the queue works by them.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from eventspool._backends.journals import keeps_journals
from eventspool._backends.protocol import Backend
from eventspool._envelope import decrypt, encrypt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from eventspool._backends.journals import JournalEntry
    from eventspool._claim import Claim, ClaimTerms
    from eventspool._envelope import Cipher
    from eventspool._job import CommitResult, Failure, Job, JobState, NewJob, Rewrite, Settlement

__all__ = ["EncryptedBackend"]

_ERROR = "encrypted:"
_ERROR_BYTES = 300
"""Most of an error text that is kept: encrypted and as text it grows, and must not exceed 500 characters."""
_UNTOUCHED = frozenset(
    "durable shared find_routing open close abandon hold ack pass_on renew leave wait interrupt"  # noqa: SIM905 - else 19 lines
    " stats processors reasons condition pause expedite replay purge repair scan partitions resize".split()
)
"""What of a backend has nothing to encrypt. Callers reach it on the inner backend directly, at no cost."""


class EncryptedBackend:
    """
    Keeps *inner*'s payloads encrypted (see ``Backend`` for what each method promises).

    A payload that is not encrypted is handed out as it is: it was stored before there was a key. A payload that no key opens
    is handed out as it is, too: ``open_envelope`` then says so, and the job stays in the queue.

    Args:
        inner: Where the jobs are.
        cipher: The keys.
    """

    def __init__(self, inner: Backend, cipher: Cipher) -> None:
        self._inner = inner
        self._cipher = cipher
        for name in _UNTOUCHED:
            setattr(self, name, getattr(inner, name))
        if not keeps_journals(inner):
            setattr(self, "append", None)  # noqa: B010 - `keeps_journals` looks for it, and mypy allows no other way

    if TYPE_CHECKING:  # the type checker does not follow `setattr`

        def __getattr__(self, name: str) -> Any: ...

    def commit(self, jobs: Sequence[NewJob]) -> CommitResult:
        """Store *jobs*, with encrypted payloads."""
        return self._inner.commit(
            [
                replace(
                    job,
                    payload=encrypt(job.payload, self._cipher),
                    failure=job.failure and self._encrypt_failure(job.failure),
                )
                for job in jobs
            ]
        )

    def claim(self, token: str, terms: ClaimTerms) -> Claim:
        """Lease jobs, and decrypt them."""
        claim = self._inner.claim(token, terms)
        if not claim.jobs:
            return claim
        return replace(
            claim, jobs=tuple(replace(job, payload=self._decrypt(job.payload)) for job in claim.jobs)
        )

    def settle(self, token: str, settlements: Sequence[Settlement]) -> list[bool]:
        """End leases. What is stored of a failure is encrypted."""
        return self._inner.settle(
            token,
            [
                replace(each, failure=self._encrypt_failure(each.failure)) if each.failure else each
                for each in settlements
            ],
        )

    def lookup(self, ids: Sequence[str], *, epoch: str = "") -> Mapping[str, Failure | None]:
        """Say which of *ids* are stored, and why those failed that did."""
        return {
            job_id: failure
            and replace(
                failure, error=self._decrypt_error(failure.error), payload=self._decrypt(failure.payload)
            )
            for job_id, failure in self._inner.lookup(ids, epoch=epoch).items()
        }

    def jobs(self, state: JobState, *, limit: int, after: Job | str | None = None) -> list[Job]:
        """List jobs, with readable errors."""
        return [
            replace(job, error=self._decrypt_error(job.error)) if job.error else job
            for job in self._inner.jobs(state, limit=limit, after=after)
        ]

    def payload(self, job_id: str) -> bytes | None:
        """Return one job's envelope, decrypted."""
        return self._decrypt(self._inner.payload(job_id))

    def payloads(self, ids: Sequence[str]) -> Mapping[str, bytes | None]:
        """Return the envelopes of the first of *ids*, decrypted."""
        return {job_id: self._decrypt(payload) for job_id, payload in self._inner.payloads(ids).items()}

    def rewrite(self, rewrites: Sequence[Rewrite]) -> list[bool]:
        """Put payloads, encrypted, in the place of others. What is stored is compared decrypted."""
        return [answer for part in self._prepared(rewrites) for answer in self._inner.rewrite(part)]

    def _prepared(self, rewrites: Sequence[Rewrite]) -> Iterator[list[Rewrite]]:
        """
        Yield *rewrites* as the inner backend takes them, as many at a time as it reads payloads.

        Where something else is stored than is expected, the inner backend is told to expect what is not stored either.
        """
        while rewrites:
            found = self._inner.payloads([each.job_id for each in rewrites])
            part, rewrites = rewrites[: len(found)], rewrites[len(found) :]
            yield [
                replace(
                    each,
                    expected=stored if self._decrypt(stored) == each.expected else stored + b"else",
                    payload=encrypt(each.payload, self._cipher),
                )
                for each in part
                for stored in [found[each.job_id] or b""]
            ]

    def append(self, journal: str, entry: bytes, *, most: int, apart: float = 0.0) -> bool:
        """Append *entry*, encrypted."""
        return self._inner.append(journal, encrypt(entry, self._cipher), most=most, apart=apart)

    def journal(self, journal: str, *, limit: int, before: int | None = None) -> list[JournalEntry]:
        """Return entries, decrypted."""
        return [
            replace(entry, body=decrypt(entry.body, self._cipher))
            for entry in self._inner.journal(journal, limit=limit, before=before)
        ]

    def amend(self, journal: str, position: int, expected: bytes, entry: bytes) -> bool:
        """Put *entry*, encrypted, in the place of another one. What is stored is compared decrypted."""
        for stored in self._inner.journal(journal, limit=1, before=position + 1):
            if stored.position == position and decrypt(stored.body, self._cipher) == expected:
                return self._inner.amend(journal, position, stored.body, encrypt(entry, self._cipher))
        return False

    def _decrypt(self, payload: bytes | None) -> bytes | None:
        return None if payload is None else decrypt(payload, self._cipher)

    def _encrypt_failure(self, failure: Failure) -> Failure:
        payload = None if failure.payload is None else encrypt(failure.payload, self._cipher)
        if failure.error.startswith(
            _ERROR
        ):  # no key of ours opened it, and it moves from one queue to another
            return replace(failure, payload=payload)
        error = encrypt(failure.error.encode(errors="replace")[:_ERROR_BYTES], self._cipher)
        return replace(failure, payload=payload, error=_ERROR + base64.b64encode(error).decode())

    def _decrypt_error(self, error: str) -> str:
        if not error.startswith(_ERROR):
            return error
        try:
            stored = base64.b64decode(error.removeprefix(_ERROR))
        except ValueError:
            return error
        opened = decrypt(stored, self._cipher)
        return error if opened is stored else opened.decode(errors="ignore")


# A method that is new in the Protocol must be decided on: if it were passed on unseen, it might store what is secret.
_decided = _UNTOUCHED | vars(EncryptedBackend).keys()
if _forgotten := [n for n in {*Backend.__annotations__, *vars(Backend)} - _decided if n[0] != "_"]:
    raise TypeError(f"{__name__} must encrypt, or leave untouched: {', '.join(_forgotten)}")
