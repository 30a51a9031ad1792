"""Configuration files in YAML: registries.d and containers-tls-details.yaml, read and checked."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from transship.pipeline.batch.reading import Document, read_document
from transship.pipeline.batch.reading import Path as Place
from transship.pipeline.errors import UsageError, shown
from transship.pipeline.lookaside import RegistriesD, Section
from transship.pipeline.registry import config_files, tls
from transship.pipeline.registry.tls_details import TlsDetails

_URLS: Final = ("lookaside", "lookaside-staging", "sigstore", "sigstore-staging")
_SCHEMES: Final = ("file", "http", "https")
_DETAILS: Final = ("minVersion", "cipherSuites", "namedGroups")


def read_registries_d(environ: Mapping[str, str], folder: str = "") -> RegistriesD:
    """Return what the files of ``folder``, or of the usual places, say together.

    Raises:
        UsageError: ``folder`` cannot be read; a file is malformed, or says what another one says.
    """
    try:
        if folder:
            paths = config_files.files_in(Path(folder), ".yaml")
        else:
            paths = config_files.drop_ins("registries", "", environ)
    except OSError as error:
        where = f"--registries.d {shown(folder)}" if folder else shown(str(error.filename))
        advice = "name a folder of *.yaml files"
        raise UsageError(f"{where}: cannot be read: {error.strerror}", advice=advice) from error
    found = RegistriesD()
    for path in paths:
        document = _document(path)
        said = _mapping(document, (), document.value)
        usual = said.get("default-docker")
        default = _section(document, ("default-docker",), usual) if usual else None
        scopes = _mapping(document, ("docker",), said.get("docker") or {})
        found = found.add(default, {scope: _section(document, ("docker", scope), scopes[scope]) for scope in scopes})
    return found


@lru_cache(maxsize=4)
def read_tls_details(path: str) -> TlsDetails:
    """Return what a containers-tls-details.yaml allows, once it is sure that Python's ssl can be told so.

    Raises:
        UsageError: it cannot be read, is malformed, or asks for what cannot be.
    """
    document = _document(Path(path))
    said = _mapping(document, (), document.value)
    for key in said:
        if key not in _DETAILS:
            raise document.refusal((key,), "is unknown", f"expected {', '.join(_DETAILS)}")
    minimum = said.get("minVersion") or ""
    if not isinstance(minimum, str):
        raise document.refusal(("minVersion",), "is no text", 'write it as "1.2"')
    found = TlsDetails(minimum, *(_texts(document, said, key) for key in _DETAILS[1:]))
    try:
        tls.context(tls.Certificates(), found, verify=False, with_pairs=False)
    except UsageError as error:
        key, _, why = error.message.partition(": ")
        raise document.refusal((key,), why, error.advice) from error
    return found


def _document(path: Path) -> Document:
    if not path.exists() or path.stat().st_size:
        return read_document(path)
    return Document(path, {}, {})


def _section(document: Document, at: Place, value: object) -> Section:
    said = _mapping(document, at, value or {})
    for key in _URLS:
        url = said.get(key)
        if url is not None and (not isinstance(url, str) or urlsplit(url).scheme not in _SCHEMES):
            raise document.refusal((*at, key), "is no URL", "expected file:///..., http://... or https://...")
    attachments = said.get("use-sigstore-attachments")
    if not isinstance(attachments, bool | None):
        raise document.refusal((*at, "use-sigstore-attachments"), "is neither true nor false")
    read, write = (said.get(key) or said.get(old) or None for key, old in (_URLS[::2], _URLS[1::2]))
    return Section(read, write, attachments, f"{document.path}:{document.line(at)}")  # type: ignore[arg-type]


def _mapping(document: Document, at: Place, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise document.refusal(at, "expected keys with values")
    return value


def _texts(document: Document, said: Mapping[str, object], key: str) -> tuple[str, ...] | None:
    found = said.get(key)
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise document.refusal((key,), "expected a list of names")
    return tuple(found)
