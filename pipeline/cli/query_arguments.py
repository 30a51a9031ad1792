"""The arguments of skopeo's query and account commands."""

import argparse

from transship.pipeline.cli.flags import account, elsewhere, flag, reaching, retrying


def inspect(parser: argparse.ArgumentParser) -> None:
    """Add those of ``inspect``."""
    parser.add_argument("image", metavar="IMAGE-NAME", help="the image, as transport:reference")
    flag(parser, "--raw", help="print the manifest, or with --config the config, byte for byte")
    flag(parser, "--config", help="print the config in OCI's form (default: a summary of the image)")
    parser.add_argument(
        "-f", "--format", metavar="TEMPLATE", default="", help="print by this Go template, or json (default: json)"
    )
    flag(parser, "-n", "--no-tags", help="do not ask a registry for the repository's tags")
    parser.add_argument(
        "--manifest-digest",
        metavar="ALGORITHM",
        default="",
        help="how Digest is computed: sha256 or sha512 (default: as the config's digest, sha256 nearly always)",
    )
    _image(parser)


def list_tags(parser: argparse.ArgumentParser) -> None:
    """Add those of ``list-tags``."""
    parser.add_argument(
        "repository", metavar="SOURCE-IMAGE", help="docker://repository, docker-archive:path or bundle:path"
    )
    reaching(parser)
    account(parser)
    retrying(parser)


def layers(parser: argparse.ArgumentParser) -> None:
    """Add those of ``layers``."""
    parser.add_argument("image", metavar="IMAGE-NAME", help="the image, as transport:reference")
    parser.add_argument(
        "layers",
        metavar="LAYER",
        nargs="*",
        default=[],
        help="digest of a blob to write, with or without sha256: (default: every blob)",
    )
    _image(parser)


def delete(parser: argparse.ArgumentParser) -> None:
    """Add those of ``delete``."""
    parser.add_argument("image", metavar="IMAGE-NAME", help="docker://, oci: or containers-storage: reference")
    _image(parser)


def completion(parser: argparse.ArgumentParser) -> None:
    """Add those of ``completion``."""
    parser.add_argument(
        "shell", metavar="SHELL", choices=("bash", "zsh", "fish", "powershell"), help="bash, zsh, fish or powershell"
    )
    flag(parser, "--no-descriptions", help="complete words alone, without what they do (zsh and fish show that)")


def manifest_digest(parser: argparse.ArgumentParser) -> None:
    """Add those of ``manifest-digest``."""
    parser.add_argument(
        "file", metavar="MANIFEST-FILE", help="file that holds a manifest; /dev/stdin for standard input"
    )


def generate_sigstore_key(parser: argparse.ArgumentParser) -> None:
    """Add those of ``generate-sigstore-key``."""
    parser.add_argument(
        "--output-prefix", metavar="PREFIX", default="", help="write the keys to PREFIX.private and PREFIX.pub"
    )
    parser.add_argument(
        "--passphrase-file",
        metavar="FILE",
        default="",
        help="encrypt the private key by the first line of this file (default: asked for at the terminal)",
    )


def standalone_sign(parser: argparse.ArgumentParser) -> None:
    """Add those of ``standalone-sign``."""
    parser.add_argument("manifest", metavar="MANIFEST", help="file that holds the manifest")
    parser.add_argument("docker_reference", metavar="DOCKER-REFERENCE", help="name to sign it under: host/app:v1")
    parser.add_argument("key_fingerprint", metavar="KEY-FINGERPRINT", help="the secret key of GnuPG's to sign with")
    parser.add_argument("-o", "--output", metavar="SIGNATURE", default="", help="file to write the signature to")
    parser.add_argument(
        "--passphrase-file",
        metavar="FILE",
        default="",
        help="its first line is the passphrase of the key (default: ask the agent)",
    )


def standalone_verify(parser: argparse.ArgumentParser) -> None:
    """Add those of ``standalone-verify``."""
    parser.add_argument("manifest", metavar="MANIFEST", help="file that holds the manifest")
    parser.add_argument("docker_reference", metavar="DOCKER-REFERENCE", help="name that must be signed")
    parser.add_argument(
        "key_fingerprints",
        metavar="KEY-FINGERPRINTS",
        help="keys that may have signed, joined by commas; any: all keys of --public-key-file",
    )
    parser.add_argument("signature", metavar="SIGNATURE", help="file that holds the signature")
    parser.add_argument(
        "--public-key-file", metavar="FILE", default="", help="file of public keys (default: those that GnuPG knows)"
    )


def untrusted_dump(parser: argparse.ArgumentParser) -> None:
    """Add those of ``untrusted-signature-dump-without-verification``."""
    parser.add_argument("signature", metavar="SIGNATURE", help="file that holds the signature")


def login(parser: argparse.ArgumentParser) -> None:
    """Add those of ``login``."""
    registry = "host[:port], or host[:port]/namespace (default: the first unqualified-search registry)"
    parser.add_argument("registry", metavar="REGISTRY", nargs="?", default="", help=registry)
    parser.add_argument("-u", "--username", metavar="USER", default="", help="name to log in with (default: asked for)")
    parser.add_argument(
        "-p",
        "--password",
        metavar="PASSWORD",
        default="",
        help="password to log in with, which other users of the machine see (default: asked for)",
    )
    flag(parser, "--password-stdin", help="read the password from standard input, without the end of its line")
    flag(parser, "--get-login", help="print the user who is logged in, and do nothing")
    flag(parser, "-v", "--verbose", help="say where the credentials went")
    _files(parser)
    reaching(parser)


def logout(parser: argparse.ArgumentParser) -> None:
    """Add those of ``logout``."""
    parser.add_argument(
        "registry",
        metavar="REGISTRY",
        nargs="?",
        default="",
        help="registry or namespace, as in login; none with --all",
    )
    flag(parser, "-a", "--all", help="log out of every registry in the auth file")
    _files(parser)
    reaching(parser)


def _files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--compat-auth-file",
        metavar="FILE",
        default="",
        help="use this file, in Docker's form (default: that of --authfile)",
    )


def _image(parser: argparse.ArgumentParser) -> None:
    reaching(parser)
    account(parser)
    retrying(parser)
    elsewhere(parser)
