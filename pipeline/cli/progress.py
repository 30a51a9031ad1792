"""Progress on the terminal: bars by tqdm, plain lines, JSON lines, or nothing."""

import json
import sys
import threading
import time
from typing import Any, Final, Literal, Protocol, TextIO, TypeAlias

from transship.pipeline.manifest.descriptor import Descriptor

Style: TypeAlias = Literal["auto", "bar", "lines", "json", "none"]
LARGE_BLOB: Final = 64 << 20
"""Bytes from which a blob has a bar of its own."""
_EVERY: Final = 10.0


class Progress(Protocol):
    """Hears of bytes and of deliveries, each of one image or of all in an archive, from any thread."""

    def bytes(self, blob: Descriptor, count: int) -> None:
        """``count`` more bytes of ``blob`` have arrived."""

    def delivery(self, name: str, images: int, verified: bool) -> None:
        """A delivery of so many images is settled."""

    def close(self) -> None:
        """Draw no more."""


def make_progress(style: Style, total: int, stream: TextIO | None = None) -> Progress:
    """Return the progress display for ``total`` images on ``stream``, by default what standard error is by then.

    ``auto`` is bars on a terminal, lines elsewhere.
    """
    stream = stream or sys.stderr
    if style == "auto":
        style = "bar" if stream.isatty() else "lines"
    if style == "bar":
        return _Bars(total, stream)
    if style == "none":
        return _Nothing()
    return _Lines(total, stream, style == "json")


class _Nothing:
    def bytes(self, blob: Descriptor, count: int) -> None:
        pass

    def delivery(self, name: str, images: int, verified: bool) -> None:
        pass

    def close(self) -> None:
        pass


class _Bars:
    def __init__(self, total: int, stream: TextIO) -> None:
        from tqdm import tqdm  # noqa: PLC0415

        self._tqdm = tqdm
        self._stream = stream
        self._lock = threading.Lock()
        self._images = tqdm(total=total, unit="image", file=stream, desc="images", position=0, dynamic_ncols=True)
        self._bytes = tqdm(unit="B", unit_scale=True, unit_divisor=1024, file=stream, desc="bytes", position=1)
        self._blobs: dict[str, Any] = {}
        self._failed = 0

    def bytes(self, blob: Descriptor, count: int) -> None:
        with self._lock:
            self._bytes.update(count)
            if blob.size >= LARGE_BLOB:
                self._blob(blob).update(count)

    def _blob(self, blob: Descriptor) -> Any:
        name = blob.digest.hex[:12]
        if name not in self._blobs:
            self._blobs[name] = self._tqdm(
                total=blob.size, unit="B", unit_scale=True, unit_divisor=1024, file=self._stream, desc=name, leave=False
            )
        return self._blobs[name]

    def delivery(self, name: str, images: int, verified: bool) -> None:
        with self._lock:
            self._failed += 0 if verified else images
            self._images.update(images)
            if self._failed:
                self._images.set_postfix(failed=self._failed)

    def close(self) -> None:
        with self._lock:
            for bar in (*self._blobs.values(), self._bytes, self._images):
                bar.close()


class _Lines:
    """A line at most every ten seconds, so that a night's log stays readable; JSON has every delivery."""

    def __init__(self, total: int, stream: TextIO, as_json: bool) -> None:
        self._total = total
        self._stream = stream
        self._json = as_json
        self._lock = threading.Lock()
        self._bytes = self._settled = self._failed = 0
        self._begun = self._said = time.monotonic()

    def bytes(self, blob: Descriptor, count: int) -> None:
        with self._lock:
            self._bytes += count
            self._maybe()

    def delivery(self, name: str, images: int, verified: bool) -> None:
        with self._lock:
            self._settled += images
            self._failed += 0 if verified else images
            if self._json:
                self._write({"delivery": name, "verified": verified, "done": self._settled, "of": self._total})
            else:
                self._maybe()

    def close(self) -> None:
        pass

    def _maybe(self) -> None:
        now = time.monotonic()
        if now - self._said < _EVERY:
            return
        self._said = now
        elapsed = now - self._begun
        rate = self._bytes / elapsed
        left = (self._total - self._settled) * elapsed / self._settled if self._settled else None
        if self._json:
            self._write({"done": self._settled, "of": self._total, "failed": self._failed, "bytes": self._bytes})
            return
        eta = f", {left:.0f} s left" if left is not None else ""
        print(
            f"{self._settled}/{self._total} images, {self._failed} failed, {size(self._bytes)}, {size(rate)}/s{eta}",
            file=self._stream,
            flush=True,
        )

    def _write(self, document: dict[str, object]) -> None:
        print(json.dumps(document), file=self._stream, flush=True)


def size(count: float) -> str:
    """Return bytes as people read them, in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
