"""What ``copy`` is asked to make of an image: its form, and which of its platforms."""

import argparse
import sys
from typing import TYPE_CHECKING, NamedTuple

from transship.pipeline.cli.connect import wanted_platform
from transship.pipeline.compression import DEFAULT_BUDGET, Budget, Compression
from transship.pipeline.compression.codecs import wrong_level
from transship.pipeline.convert.shape import Shape
from transship.pipeline.errors import NotFoundError, UsageError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.platform import Platform
from transship.pipeline.manifest.views import Index, Manifest
from transship.pipeline.tree import Selection

if TYPE_CHECKING:
    from transship.pipeline.trust.encryption.keys import Keys


class Choice(NamedTuple):
    """Which images of an index: all, none (``listed`` empty), those ``listed``; else the ``one``.

    ``strip`` leaves the others out of the index; else it keeps its bytes, and names what is not there.
    """

    one: Platform
    all: bool = False
    listed: tuple[Platform, ...] | None = None
    strip: bool = False

    def select(self, root: Manifest) -> Selection:
        """Return what is wanted of ``root``; of a single image itself.

        Raises:
            NotFoundError: there is none for a platform that was asked for.
        """
        own = Descriptor(root.media_type, root.digest, len(root.raw))
        if not isinstance(root, Index) or self.all:
            return Selection(own)
        if self.listed is None:
            entry = root.select(self.one)
            return Selection(Descriptor(entry.media_type, entry.digest, entry.size))
        kept = dict.fromkeys(entry.digest for wanted in self.listed for entry in _serving(root, wanted))
        return Selection(own, tuple(kept), sparse=not self.strip)


def choice(options: argparse.Namespace) -> Choice:
    """Return which platforms are asked for.

    Raises:
        UsageError: options that exclude each other, or a malformed list.
    """
    if options.all and options.multi_arch:
        raise UsageError("copy: cannot use --all and --multi-arch together", advice="keep one")
    if options.platform and (options.all or options.multi_arch):
        raise UsageError("copy: --platform excludes --all and --multi-arch", advice="keep one")
    listed = _listed(options.multi_arch)
    if options.strip_removed_platforms and not listed:
        raise UsageError(
            "copy: --strip-removed-platforms goes with a list of platforms", advice="say --multi-arch linux/amd64,..."
        )
    one = Platform.parse(options.platform) if options.platform else wanted_platform(options)
    return Choice(one, options.all or options.multi_arch == "all", listed, options.strip_removed_platforms)


def shape(options: argparse.Namespace, transport: str) -> Shape:
    """Return the form that is asked for at a destination of ``transport``.

    Raises:
        UsageError: options that exclude each other, or what is not built.
    """
    if options.dest_decompress and (options.dest_compress_format or options.dest_compress):
        raise UsageError("copy: --dest-decompress and --dest-compress exclude each other", advice="choose one")
    if options.dest_compress and transport != "dir":
        print("transship: --dest-compress is for dir: destinations only, and does nothing here", file=sys.stderr)
    if options.encryption_key and options.decryption_key:
        raise UsageError("copy: --encryption-key and --decryption-key cannot be specified together", advice="keep one")
    level = options.dest_compress_level
    layers = Compression(options.dest_compress_format) if options.dest_compress_format else None
    # A level alone, and --dest-compress, say how to pack what is plain: what is packed stays.
    plain = layers is None and (level is not None or (options.dest_compress and transport == "dir"))
    if plain:
        layers = Compression.GZIP
    wrong = wrong_level(layers, level) if layers and level is not None else ""
    if wrong:
        raise UsageError(f"copy: --dest-compress-level: {wrong}")
    if options.dest_decompress:
        layers = Compression.NONE
    if layers and layers is not Compression.NONE and transport == "docker-archive":
        print("transship: a docker-archive holds plain tars: nothing is compressed", file=sys.stderr)
    manifests = {"oci": "oci", "v2s2": "docker", "v2s1": "v2s1"}.get(options.format, "keep")
    return Shape(
        manifests,  # type: ignore[arg-type]
        options.config,
        layers,
        level,
        options.dest_compress_again,
        preserve=options.preserve_digests,
        plain=plain,
        budget=Budget(options.max_layer_size or DEFAULT_BUDGET.size, options.max_layer_ratio or DEFAULT_BUDGET.ratio),
        reversible=options.reversible,
        lossless=options.fail_on_loss,
        foreign=options.foreign or None,
        encrypt=tuple(options.encryption_key),
        encrypt_layers=tuple(options.encrypt_layer),
        # Of a passphrase nothing goes any further than to whom needs it.
        decrypt=tuple(text.partition(":")[0] for text in options.decryption_key),
    )


def keys(options: argparse.Namespace) -> "Keys | None":
    """Return the keys that layers are to be encrypted or decrypted with, None where there are none.

    Raises:
        UsageError: one cannot be read or used, or options that exclude each other.
    """
    if options.encrypt_layer and not options.encryption_key:
        raise UsageError("copy: --encrypt-layer goes with --encryption-key", advice="say --encryption-key jwe:FILE")
    if not options.encryption_key and not options.decryption_key:
        return None
    from transship.pipeline.trust.encryption.loading import loaded  # noqa: PLC0415 - few copies have keys

    return loaded(options.encryption_key, options.decryption_key)


def _listed(text: str) -> tuple[Platform, ...] | None:
    if text in ("", "system", "all"):
        return None
    if text == "index-only":
        return ()
    if "/" not in text:
        raise UsageError(
            f"copy: --multi-arch {text!r} is not known", advice="say system, all, index-only or OS/ARCH,..."
        )
    return tuple(Platform.parse(part) for part in text.split(","))


def _serving(index: Index, wanted: Platform) -> list[Descriptor]:
    """Return the entries for an os and architecture, and for a variant if one is asked for."""
    found = [
        entry
        for entry in index.manifests
        if entry.platform
        and (entry.platform.os, entry.platform.architecture) == (wanted.os, wanted.architecture)
        and wanted.variant in ("", entry.platform.variant)
    ]
    if not found:
        offered = ", ".join(sorted({str(entry.platform) for entry in index.manifests if entry.platform}))
        raise NotFoundError(f"no image for platform {wanted} in index {index.digest}", advice=f"it has: {offered}")
    return found
