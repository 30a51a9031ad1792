"""Streaming codecs of layers: gzip through ISA-L, zstd through pyzstd, none; `transcoding` has the way between them."""

from transship.pipeline.compression.codecs import Compression
from transship.pipeline.compression.decoding import DEFAULT_BUDGET, Budget, Reader, decompressed

__all__ = ["DEFAULT_BUDGET", "Budget", "Compression", "Reader", "decompressed"]
