"""The fold of a run folder's checkpoints: what happened to every image. Reads files, needs no Luigi."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeAlias

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.jobs import Delivery, Member, Plan
from transship.pipeline.manifest.document import MAX_DOCUMENT, Json, Object
from transship.pipeline.referrers import Found

ERROR: Final = "error.json"
CHECKPOINTS: Final = "checkpoints"
State: TypeAlias = Literal["verified", "failed", "written", "converted", "fetched", "resolved", "pinned", "waiting"]
_STEPS: Final[tuple[tuple[str, State], ...]] = (
    ("FetchManifest", "pinned"),
    ("ResolvePlatform", "resolved"),
    ("FetchBlobs", "fetched"),
)


class Change(NamedTuple):
    """One entry of the digest map: what became of a manifest, config or layer; ``media_type`` is that of the new."""

    kind: str
    old: str
    new: str
    media_type: str


class Crypted(NamedTuple):
    """A layer that was encrypted (``kind`` encrypt) or decrypted: its digest now, and the names of the keys."""

    kind: str
    layer: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One image at one destination; digests are empty until they are known, sizes are bytes.

    ``codec`` is what packed the layers that were repacked: library, version and level.
    """

    source: str
    destination: str
    state: State
    old: str
    new: str
    bytes: int
    seconds: float
    changes: tuple[Change, ...]
    codec: str
    losses: tuple[str, ...]
    task: str
    error: str
    retriable: bool
    hanging: Found | None = None
    """What of all that hangs on the image was written, and what left behind; None where that was not asked for."""
    kept: tuple[Digest, ...] | None = None
    """Of a sparse index the images that were written, else None."""
    crypted: tuple[Crypted, ...] = ()
    accepted: tuple[str, ...] = ()
    """Whose signatures the policy has accepted it for."""
    signed: tuple[str, ...] = ()
    """Who has signed it at its destination."""

    def document(self) -> Object:
        """Return the JSON object of one image in ``report.json``."""
        losses: list[Json] = list(self.losses)
        changes: list[Json] = [
            {"kind": change.kind, "old": change.old, "new": change.new, "mediaType": change.media_type}
            for change in self.changes
        ]
        made: Object = {
            "source": self.source,
            "destination": self.destination,
            "state": self.state,
            "old": self.old,
            "new": self.new,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "changes": changes,
            "losses": losses,
        }
        if self.hanging is not None:
            found = self.hanging.to_document()
            made |= {"referrers": found["referrers"], "left-behind": found["left"]}
        for key, kind in (("encrypted", "encrypt"), ("decrypted", "decrypt")):
            found_keys: list[Json] = [
                {"layer": one.layer, "keys": list(one.keys)} for one in self.crypted if one.kind == kind
            ]
            made |= {key: found_keys} if found_keys else {}
        if self.kept is not None:
            made["kept"] = [str(digest) for digest in self.kept]
        if self.accepted:
            made["accepted"] = list(self.accepted)
        if self.signed:
            made["signed"] = list(self.signed)
        if self.codec:
            made["codec"] = self.codec
        if self.error:
            made["error"] = {"task": self.task, "message": self.error, "retriable": self.retriable}
        return made


def fold(root: Path, plan: Plan, unkept: Mapping[str, Object] = MappingProxyType({})) -> Iterator[Line]:
    """Yield a line for every image and destination of ``plan``, in its order.

    ``unkept`` has errors by key that are in no file, as the disk had no room for them.
    """
    for key, delivery in plan.deliveries.items():
        for member in delivery.members:
            yield _line(f"{root}/{CHECKPOINTS}", plan, key, delivery, member, unkept=unkept)


def report(root: Path, plan: Plan, unkept: Mapping[str, Object] = MappingProxyType({})) -> Object:
    """Return the document of ``report.json``: a summary, and every line, with ``unkept`` as `fold` has it."""
    lines = list(fold(root, plan, unkept))
    states: dict[str, Json] = {}
    for line in lines:
        count = states.get(line.state, 0)
        states[line.state] = (count if isinstance(count, int) else 0) + 1
    images: list[Json] = [line.document() for line in lines]
    return {"version": 1, "name": plan.name, "policy": plan.policy, "states": states, "images": images}


def _line(root: str, plan: Plan, key: str, delivery: Delivery, member: Member, *, unkept: Mapping[str, Object]) -> Line:
    folder = f"{root}/{member.image}"
    state: State = "waiting"
    seconds = 0.0
    records: dict[str, Object] = {}
    steps: list[tuple[str, str, State]] = [(name, f"{folder}/{name}.json", after) for name, after in _STEPS]
    steps += [
        ("ConvertMediaTypes", f"{folder}/ConvertMediaTypes-{member.shape.key()}.json", "converted"),
        ("WriteImage", f"{root}/{key}/WriteImage.json", "written"),
        ("VerifyDigests", f"{root}/{key}/VerifyDigests.json", "verified"),
    ]
    for name, path, after in steps:
        record = _object(path)
        if record:
            state = after
            records[name] = _inner(record, "result")
            seconds += _number(record.get("seconds"))
    error: Object = {}
    if state != "verified":
        error = unkept.get(key) or unkept.get(member.image) or {}
        error = error or _object(f"{root}/{key}/{ERROR}") or _object(f"{folder}/{ERROR}")
    made = records.get("ConvertMediaTypes", {})
    losses, changes = made.get("losses"), made.get("changes")
    listed = changes if isinstance(changes, list) else []
    trust = _trust(records, delivery, member)
    return Line(
        source=plan.images[member.image].source,
        destination=delivery.reference(member),
        state="failed" if error else state,
        old=_text(_inner(records.get("FetchManifest", {}), "root").get("digest")),
        new=_text(_inner(made, "root").get("digest")),
        bytes=int(_number(records.get("FetchBlobs", {}).get("bytes"))),
        seconds=seconds,
        changes=tuple(_change(change) for change in listed if isinstance(change, dict)),
        codec=_text(made.get("codec")),
        losses=_texts(losses) + _texts(trust.get("lost")),
        task=_text(error.get("task")),
        error=_text(error.get("message")),
        retriable=error.get("retriable") is True,
        hanging=_hanging(records, delivery, member) if plan.images[member.image].referrers else None,
        crypted=tuple(_crypted(made.get("crypted"))),
        kept=_kept(records) if plan.images[member.image].sparse else None,
        accepted=_texts(records.get("ResolvePlatform", {}).get("accepted")),
        signed=_texts(trust.get("signed")),
    )


def _trust(records: Mapping[str, Object], delivery: Delivery, member: Member) -> Object:
    """Return what was noted of a member's signatures when it was written."""
    written = records.get("WriteImage", {}).get("signatures")
    place = delivery.members.index(member)
    found = written[place] if isinstance(written, list) and place < len(written) else None
    return found if isinstance(found, dict) else {}


def _hanging(records: Mapping[str, Object], delivery: Delivery, member: Member) -> Found:
    written = records.get("WriteImage", {}).get("hanging")
    place = delivery.members.index(member)
    try:
        return Found.read(written[place] if isinstance(written, list) and place < len(written) else None)
    except ContentError:
        return Found()


def _kept(records: Mapping[str, Object]) -> tuple[Digest, ...] | None:
    kept = records.get("ResolvePlatform", {}).get("kept")
    try:
        return tuple(Digest.parse(str(one)) for one in kept) if isinstance(kept, list) else None
    except ContentError:
        return None


def _crypted(listed: Json) -> Iterator[Crypted]:
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict):
            keys = one.get("keys")
            names = tuple(_text(name) for name in keys) if isinstance(keys, list) else ()
            yield Crypted(_text(one.get("kind")), _text(one.get("layer")), names)


def _change(change: Object) -> Change:
    old, new = _inner(change, "old"), _inner(change, "new")
    found = (change.get("kind"), old.get("digest"), new.get("digest"), new.get("mediaType"))
    return Change(*map(_text, found))


def _object(path: str) -> Object:
    # Six files an image: what Path and buffered streams cost would be most of a long run's report.
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            document = json.loads(os.read(handle, min(os.fstat(handle).st_size, MAX_DOCUMENT)).decode())
        finally:
            os.close(handle)
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _inner(document: Object, key: str) -> Object:
    found = document.get(key)
    return found if isinstance(found, dict) else {}


def _number(value: Json) -> float:
    # What a damaged file says instead may be no number, or none that fits.
    return float(value) if isinstance(value, int | float) and 0 <= value < 1 << 63 else 0.0


def _texts(value: Json) -> tuple[str, ...]:
    return tuple(_text(one) for one in value) if isinstance(value, list) else ()


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""
