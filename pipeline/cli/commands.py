"""The names of the commands: which there are, which are not shown, which skopeo has and transship has not."""

from collections.abc import Mapping, Sequence
from typing import Final

COMMANDS: Final[Mapping[str, str]] = {
    "run": "copy and convert every image of a batch file; run again to resume",
    "lock": "write down what every tag of a batch file means now; say later what has changed",
    "bundle create": "pack all images of a batch file or lock into one file, the same bytes every time",
    "bundle sign": "sign bundles, each verified before",
    "bundle load": "load all images of bundles to a registry, an OCI layout or an engine",
    "bundle apply": "load bundles made by --since on top of what was loaded before",
    "bundle verify": "verify every byte of a bundle, offline, and name what is damaged",
    "bundle list": "list the images in a bundle",
    "bundle diff": "show what one bundle has and another has not, by image and by layer",
    "status": "show where every image of a run stands",
    "verify": "re-read and re-hash a run's destinations, or any image",
    "report": "show what happened: digests old and new, bytes, losses, errors",
    "serve": "serve layouts, bundles, archives and dir: as a read-only registry",
    "copy": "copy one image",
    "inspect": "show what an image is",
    "list-tags": "list the tags of a repository, or the names in a docker-archive",
    "delete": "delete an image from a registry, an OCI layout or Podman's storage",
    "manifest-digest": "compute the digest of a manifest in a file",
    "login": "check credentials with a registry and keep them",
    "logout": "forget the credentials for a registry",
    "sync": "copy many images: of a repository, a folder or a source file of skopeo's",
    "generate-sigstore-key": "make a pair of keys to sign images with",
    "standalone-sign": "sign a manifest in a file with a key of GnuPG's",
    "standalone-verify": "verify a signature of a manifest, both in files",
    "completion": "print the script that has a shell complete transship's commands",
}
"""What each does, in the order in which help shows them."""
HIDDEN: Final[Mapping[str, str]] = {
    "layers": "write the blobs of an image to a folder layers-* here (deprecated: use copy)",
    "untrusted-signature-dump-without-verification": "show what a signature claims WITHOUT VERIFYING IT",
}
"""As skopeo's, left out of help and completion."""
ABSENT: Final[Mapping[str, str]] = {
    "experimental-image-proxy": "it is an interface for one program, and may change with every version of skopeo",
}
"""Commands of skopeo that transship has not, and why (docs/from-skopeo.md)."""
GROUPS: Final[Mapping[str, str]] = {"bundle": "carry images in one file: create, sign, load, apply, verify, list, diff"}
"""First words of commands that have two, and what these do."""
OWN: Final = frozenset(
    {
        *("run", "lock", "status", "verify", "report", "serve"),
        *GROUPS,
        *(name for name in COMMANDS if name.partition(" ")[0] in GROUPS),
    }
)
"""Commands that skopeo does not have; there 2 is the exit code of wrong options."""
_LIKE: Final = 0.6


def summary(command: str) -> str:
    """Return what a command does, also one that is not shown; empty for what is none."""
    return COMMANDS.get(command) or HIDDEN.get(command, "")


def grouped(command: str, after: Sequence[str]) -> tuple[str, list[str]]:
    """Return a command with its second word where it has two, and what follows."""
    joined = f"{command} {after[0]}" if command in GROUPS and after else ""
    return (joined, list(after[1:])) if joined in COMMANDS else (command, list(after))


def nearest(word: str) -> str:
    """Return the command that ``word`` may have been meant for, empty where none is like it."""
    from difflib import get_close_matches  # noqa: PLC0415  (after a mistake alone)

    begun = [name for name in COMMANDS if word and name.startswith(word)]
    return next(iter([*begun, *get_close_matches(word, COMMANDS, 1, _LIKE)]), "")
