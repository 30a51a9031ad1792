"""The arguments of ``copy``."""

import argparse

from transship.pipeline.cli.flags import account, both_sides, elsewhere, flag, natural, reaching, retrying, signing


def copy(parser: argparse.ArgumentParser) -> None:
    """Add them."""
    parser.add_argument("source", metavar="SRC", help="the image to read, as transport:reference")
    parser.add_argument("destination", metavar="DST", help="where to write it, as transport:reference")
    _choosing(parser)
    _form(parser)
    parser.add_argument(
        "--digestfile", metavar="FILE", default="", help="write the digest of the manifest to this file"
    )
    parser.add_argument(
        "--additional-tag",
        metavar="NAME:TAG[,...]",
        action="extend",
        type=lambda text: text.split(","),
        default=[],
        help="docker-archive: only: more names for the image; may stand several times",
    )
    parser.add_argument(
        "--image-parallel-copies", metavar="N", type=natural, default=0, help="layers at once (default: 4)"
    )
    flag(parser, "--referrers", help="also copy what hangs on the image: signatures, attestations, SBOMs")
    flag(parser, "-q", "--quiet", help="print nothing but errors")
    flag(parser, "--remove-signatures", help="copy no signatures (default: they go along, or nothing does)")
    flag(parser, "--dest-precompute-digests", help="accepted: digests are always known before a blob is sent")
    both_sides(parser)
    for side in ("src-", "dest-"):
        reaching(parser, side)
        account(parser, side)
        elsewhere(parser, side)
    retrying(parser)
    signing(parser)
    _encryption(parser)
    parser.add_argument(
        "--sign-identity", metavar="NAME", default="", help="the name to sign under (default: that of the destination)"
    )


def _encryption(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--encryption-key",
        metavar="PROTOCOL:KEY",
        action="extend",
        type=_listed,
        default=[],
        help="encrypt layers for this key: jwe:FILE, pkcs7:FILE or pgp:NAME; may stand several times",
    )
    parser.add_argument(
        "--encrypt-layer",
        metavar="N",
        action="extend",
        type=_numbers,
        default=[],
        help="encrypt this layer alone, 0 is the first and -1 the last; may stand several times (default: all)",
    )
    parser.add_argument(
        "--decryption-key",
        metavar="KEY[:PASSPHRASE]",
        action="extend",
        type=_listed,
        default=[],
        help="decrypt layers with the key in this file; its passphrase as file=FILE, fd=N or pass=TEXT; all are tried",
    )


def _listed(text: str) -> list[str]:
    """Return the parts of a comma-separated list, quoted where one holds a comma, as skopeo reads it."""
    import csv  # noqa: PLC0415 - few copies have keys

    found = next(csv.reader([text]), [])
    if not all(found) or not found:
        # As of a variable that is not set: nothing would be encrypted.
        raise argparse.ArgumentTypeError("names no key")
    return found


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of a layer") from None


def _choosing(parser: argparse.ArgumentParser) -> None:
    flag(parser, "-a", "--all", help="copy every platform of a multi-platform image (default: this machine's)")
    parser.add_argument(
        "--platform",
        metavar="OS/ARCH",
        default="",
        help="the platform to copy, os/architecture[/variant] (default: this machine's)",
    )
    parser.add_argument(
        "--multi-arch",
        metavar="WHAT",
        default="",
        help="of a multi-platform image: system (one), all, index-only, or a list such as linux/amd64,linux/arm64",
    )
    flag(parser, "--strip-removed-platforms", help="leave out of the index what --multi-arch does not list")


def _form(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f",
        "--format",
        choices=("oci", "v2s1", "v2s2"),
        default="",
        help="manifest format to write (default: as it is, where the destination can hold it)",
    )
    flag(parser, "--preserve-digests", help="fail where a digest would change")
    flag(parser, "--reversible", help="keep Docker's manifests in annotations of OCI's: the way back gives their bytes")
    flag(parser, "--fail-on-loss", help="write nothing where the conversion would lose anything")
    parser.add_argument(
        "--config",
        choices=("verbatim", "strict"),
        default="verbatim",
        help="keep the config's bytes, or only what the OCI spec names (default: verbatim)",
    )
    flag(parser, "--dest-compress", help="dir: only: gzip layers that are plain tars")
    parser.add_argument(
        "--dest-compress-format",
        choices=("gzip", "zstd", "zstd:chunked"),
        default="",
        help="repack every layer that is packed otherwise (default: layers stay as they are)",
    )
    parser.add_argument(
        "--dest-compress-level",
        metavar="N",
        type=int,
        default=None,
        help="how hard to pack: gzip 1 to 9 (default: 6), zstd 1 to 20 (default: 3)",
    )
    flag(parser, "--dest-compress-again", help="repack also layers that have the format asked for")
    flag(parser, "--dest-decompress", help="unpack the layers")
    parser.add_argument(
        "--foreign",
        choices=("keep-urls", "download"),
        default="",
        help="leave foreign layers at their URLs, or fetch them (default: for dir:, docker-archive:, Docker, Podman)",
    )
    parser.add_argument(
        "--max-layer-size",
        metavar="BYTES",
        type=natural,
        default=0,
        help="most bytes that a layer may unpack to (default: 1 TiB)",
    )
    parser.add_argument(
        "--max-layer-ratio",
        metavar="N",
        type=natural,
        default=0,
        help="most times that a layer may be larger than packed, beyond 64 MiB (default: 400)",
    )
    flag(parser, "--dest-force-compress-format", help="accepted: every layer always gets the format asked for")
    flag(
        parser,
        "--dest-oci-accept-uncompressed-layers",
        help="accepted: layers always stay as they are unless asked otherwise",
    )
