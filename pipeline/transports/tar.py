"""Reading an untrusted tar through an index of its members.

Nothing is ever extracted: members are read where they lie. Links are data, followed only inside
the archive and only where the caller asks. Format: POSIX ustar and pax, with GNU long names.
"""

import io
import posixpath
import tarfile
import threading
from pathlib import Path
from typing import Final, NamedTuple

from transship.pipeline.compression import Compression
from transship.pipeline.disk import at_disk
from transship.pipeline.errors import ContentError, NotFoundError, shown
from transship.pipeline.transports.medium import Medium, Window, read_at
from transship.pipeline.transports.spool import open_medium, packing

BLOCK: Final = 512
MAX_MEMBERS: Final = 200_000
MAX_EXTENSION: Final = 1 << 20
"""Bytes of one pax or long-name header; names are all that is read from them."""
_MAX_NAME: Final = 4096
"""Bytes of a name or link; longer ones no disk could hold."""
_MAX_NAMES: Final = 16 << 20
"""Characters of all names and links together: they are kept, and a small packed archive may hold any number."""
_MAX_EXTENSIONS: Final = 32 << 20
"""Bytes of all pax and long-name headers together: each record in them takes its time."""
_MAX_LINKS: Final = 32
_REMEMBERED: Final = 8
_FILES: Final = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE})
_LINKS: Final = frozenset({tarfile.SYMTYPE, tarfile.LNKTYPE})


class Member(NamedTuple):
    """A file of an archive: where its bytes lie. ``link`` is its target in the archive, empty for a file."""

    name: str
    offset: int
    size: int
    link: str = ""


class Archive:
    """An untrusted tar, packed or not, in a file or in volumes, by the names in it. Reading is safe across threads."""

    def __init__(self, path: Path, stream: "io.FileIO | None" = None, *, in_place: bool = False) -> None:
        """Open and index ``path``, as `open_medium` does; it is closed with this.

        ``stream`` is the file where it is open already; ``path`` then only stands in messages. With ``in_place``
        nothing is unpacked as a whole.

        Raises:
            NotFoundError: there is no such file.
            ContentError: damaged, cut short, a name that stands twice or leads outside, a device.
            TransportError: the disk refused.
        """
        self.path = path
        self.medium = open_medium(path, stream, in_place=in_place)
        try:
            with at_disk(path):
                self.members = _indexed(self.medium, str(path))
        except BaseException:
            self.close()
            raise

    def find(self, name: str, follow: bool = False) -> Member:
        """Return the file called ``name``; a link is followed inside the archive where ``follow``, else refused.

        Raises:
            NotFoundError: there is none.
            ContentError: it is a link not to be followed, or links go in a circle.
        """
        wanted = _clean(name, str(self.path))
        for _ in range(_MAX_LINKS):
            member = self.members.get(wanted)
            if member is None:
                raise NotFoundError(f"{self.path}: no member {shown(wanted)!r}")
            if not member.link:
                return member
            if not follow:
                raise ContentError(f"{self.path}: member {shown(wanted)!r} is a link", advice="links are refused there")
            wanted = member.link
        raise ContentError(f"{self.path}: links from member {shown(name)!r} go in a circle")

    def open(self, member: Member, start: int = 0) -> io.BufferedReader:
        """Open the bytes of ``member`` from ``start`` on."""
        return io.BufferedReader(Window(self.medium, member.offset + start, max(member.size - start, 0)), 1 << 17)

    def read(self, member: Member, limit: int) -> bytes:
        """Return the bytes of ``member``.

        Raises:
            ContentError: there are more than ``limit``.
        """
        if member.size > limit:
            what = f"{self.path}: member {shown(member.name)!r}"
            raise ContentError(f"{what}: {member.size} bytes, over the limit of {limit}")
        with at_disk(self.path), self.open(member) as stream:
            return stream.read(member.size)

    def compression(self, member: Member) -> Compression:
        """Return how ``member`` is packed, by its first bytes."""
        with at_disk(self.path):
            return packing(read_at(self.medium, member.offset, min(4, member.size)))

    def close(self) -> None:
        """Close the medium; idempotent."""
        self.medium.close()


_known: Final[dict[tuple[int, ...], dict[str, Member]]] = {}
_known_lock: Final = threading.Lock()


def _indexed(medium: Medium, where: str) -> dict[str, Member]:
    """Return the index of an open tar; that of a file read lately and unchanged since is not made again.

    Each image of an archive is opened on its own, and each time would cost a pass over all of them.
    """
    key = medium.identity
    found = _known.get(key)
    if found is None:
        found = _Index(medium, where).read()
        with _known_lock:
            # Together they are no larger than one may be.
            while _known and (len(_known) >= _REMEMBERED or sum(map(len, (found, *_known.values()))) > MAX_MEMBERS):
                del _known[next(iter(_known))]
            _known[key] = found
    return found


class _Index:
    """One pass over the headers of a tar."""

    def __init__(self, medium: Medium, where: str) -> None:
        self._medium = medium
        self._where = where
        self._size = medium.size
        self._members: dict[str, Member] = {}
        self._name = self._link = ""
        self._pax_size: int | None = None
        self._named = self._extended = 0

    def read(self) -> dict[str, Member]:
        position = 0
        while block := read_at(self._medium, position, BLOCK):
            if not block.strip(b"\0"):
                self._check_end(position)
                break
            try:
                header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except tarfile.HeaderError as error:
                raise self._damaged(f"no tar header at byte {position}: {error}") from error
            position = self._take(header, position + BLOCK)
        if not position:
            raise self._damaged("empty, not a tar")
        return self._members

    def _check_end(self, position: int) -> None:
        """Raise where an archive seems to end and does not: two blocks of zeros end it, and readers take one alike."""
        if read_at(self._medium, position + BLOCK, BLOCK).strip(b"\0"):
            raise self._damaged(f"one block of zeros at byte {position}: readers would disagree whether it ends there")

    def _take(self, header: tarfile.TarInfo, data: int) -> int:
        """Handle one header whose data begins at ``data``; return where the next header is."""
        if header.type in {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE}:
            self._extend(header, data)
            return data + _padded(header.size)
        if max(len(self._name), len(self._link)) > _MAX_NAME:
            raise self._damaged(f"a name of {max(len(self._name), len(self._link))} characters, limit {_MAX_NAME}")
        name = _clean(self._name or header.name, self._where)
        size = header.size if self._pax_size is None else self._pax_size
        link = self._link or header.linkname
        self._name = self._link = ""
        self._pax_size = None
        if header.type == tarfile.DIRTYPE:
            return data
        if header.type in _LINKS:
            self._add(Member(name, data, 0, self._target(name, link, header.type)))
            return data
        if header.type not in _FILES:
            raise self._damaged(f"member {shown(name)!r} is neither file, folder nor link")
        self._check_size(name, data, size)
        self._add(Member(name, data, size))
        return data + _padded(size)

    def _extend(self, header: tarfile.TarInfo, data: int) -> None:
        if header.size > MAX_EXTENSION:
            raise self._damaged(f"a name of {header.size} bytes, limit {MAX_EXTENSION}")
        self._check_size("of a long name", data, header.size)
        self._extended += header.size
        if self._extended > _MAX_EXTENSIONS:
            raise self._damaged(f"over {_MAX_EXTENSIONS} bytes of long names")
        payload = read_at(self._medium, data, header.size)
        if header.type == tarfile.XHDTYPE:
            self._pax(payload)
        elif header.type == tarfile.XGLTYPE:
            return
        else:
            text = payload.rstrip(b"\0").decode("utf-8", "surrogateescape")
            if header.type == tarfile.GNUTYPE_LONGNAME:
                self._name = text
            else:
                self._link = text

    def _pax(self, payload: bytes) -> None:
        begin, end = 0, len(payload.rstrip(b"\0"))
        while begin < end:
            length, _, _ = payload[begin : begin + 8].partition(b" ")
            if not length.isdigit() or len(length) > 7 or not 4 < int(length) <= len(payload) - begin:
                raise self._damaged("a damaged pax header")
            key, _, value = payload[begin + len(length) + 1 : begin + int(length) - 1].partition(b"=")
            begin += int(length)
            if key.startswith(b"GNU.sparse"):
                raise self._damaged("a sparse file, which no image archive has")
            if key == b"path":
                self._name = value.decode("utf-8", "surrogateescape")
            elif key == b"linkpath":
                self._link = value.decode("utf-8", "surrogateescape")
            elif key == b"size":
                if not value.isdigit() or len(value) > 19:
                    raise self._damaged("a damaged pax size")
                self._pax_size = int(value)

    def _check_size(self, name: str, data: int, size: int) -> None:
        if size < 0 or data + size > self._size:
            raise self._damaged(
                f"cut short: member {shown(name)!r} has {size} bytes by its header, the file ends before"
            )

    def _target(self, name: str, link: str, kind: bytes) -> str:
        base = posixpath.dirname(name) if kind == tarfile.SYMTYPE else ""
        target = posixpath.normpath(posixpath.join(base, link))
        if target.startswith(("../", "/")) or target in {"..", "."}:
            raise self._damaged(f"link {shown(name)!r} leads outside, to {shown(link)!r}")
        return target

    def _add(self, member: Member) -> None:
        if member.name in self._members:
            raise self._damaged(f"member {shown(member.name)!r} stands twice: readers would disagree which counts")
        if len(self._members) >= MAX_MEMBERS:
            raise self._damaged(f"more than {MAX_MEMBERS} members")
        self._named += sum(len(text) * (1 if text.isascii() else 4) for text in (member.name, member.link))
        if self._named > _MAX_NAMES:
            raise self._damaged(f"over {_MAX_NAMES} characters of names and links")
        self._members[member.name] = member

    def _damaged(self, why: str) -> ContentError:
        return ContentError(f"{self._where}: {why}")


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _clean(name: str, where: str) -> str:
    """Return ``name`` without ``.`` and empty parts; the archive's root is ""."""
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise ContentError(f"{where}: member {shown(name)!r} leads outside the archive")
    return "/".join(parts)
