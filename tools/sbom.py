"""
Print the bill of materials of a full installation, as CycloneDX 1.6 JSON: `./run sbom`.

It lists what `requirements/demo.txt` pins: every extra's packages, and what builds the wheel, with the hashes of the files
that may be installed. Offline, and the same bytes for the same input: no clock, no random serial number.
"""

from __future__ import annotations

import re
import sys
import uuid
from pathlib import Path

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements/demo.txt"
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)(?P<rest>(?:.*\\\n)*.*)$", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def version() -> str:
    """Return the version of the wheel that is built from here."""
    text = (ROOT / "src/eventspool/_version.py").read_text()
    found = re.search(r'"([^"]+)"', text.partition("__version__")[2])
    assert found, "no version"
    return found[1]


def make_component(name: str, version: str, hashes: list[str], scope: ComponentScope | None) -> Component:
    """Return a package of PyPI; *hashes* are those of its files, any of which may be the one that is installed."""
    purl = PackageURL("pypi", name=name, version=version)
    files = [
        ExternalReference(
            type=ExternalReferenceType.DISTRIBUTION,
            url=XsUri(purl.to_string()),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=each)],
        )
        for each in hashes
    ]
    return Component(
        name=name,
        version=version,
        purl=purl,
        bom_ref=purl.to_string(),
        type=ComponentType.LIBRARY,
        scope=scope,
        external_references=files,
    )


def make_bom(lock: str) -> Bom:
    """Return the bill of materials for the pinned requirements *lock*."""
    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"pkg:pypi/eventspool@{version()}\n{lock}"))
    root = make_component("eventspool", version(), [], None)
    root.licenses.add(DisjunctiveLicense(id="Apache-2.0"))
    bom.metadata.component = root
    parts = [
        make_component(pin["name"], pin["version"], _HASH.findall(pin["rest"]), ComponentScope.OPTIONAL)
        for pin in _PIN.finditer(lock)
    ]
    bom.components.update(parts)
    bom.register_dependency(root, parts)
    bom.metadata.timestamp = None  # the lock says how old it is
    return bom


if __name__ == "__main__":
    outputter = make_outputter(make_bom(LOCK.read_text()), OutputFormat.JSON, SchemaVersion.V1_6)
    sys.stdout.write(outputter.output_as_string(indent=2) + "\n")
