"""What the manual says of the commands of bundles."""

from collections.abc import Mapping
from typing import Final

from transship.pipeline.cli.page import BULK, STOPPED, Page

_OWN_FILE: Final = ((0, "done"), (1, "failed"), (2, "the options are wrong, or there is no such bundle"), *STOPPED)

_SIGNED: Final = (
    "A signature is of the checksums, which name every byte, and lies beside them: FILE.sums.asc by a key of GnuPG's, "
    "which gpg --verify reads; FILE.sums.sig by a key of sigstore's, which cosign verify-blob reads. The bundle is the "
    "same with or without. One of each kind is there: another key's is replaced. A bundle that is renamed is another."
)
_JUDGED: Final = (
    "With --signed-by or --key what is not signed by one of these keys is refused before anything else is read of it."
)

BUNDLE_PAGES: Final[Mapping[str, Page]] = {
    "bundle create": Page(
        (
            "A bundle is one file to be carried to where no registry is: an OCI layout in a tar, which skopeo, Podman, "
            "umoci and oci-image-tool read, of all images of a batch file; bundle.json in it says what it holds. Made "
            "again of the same lock it is the same file, byte for byte, whoever makes it, and wherever. A batch file "
            "is locked first. Each image is called as its source is: registry/repository:tag. Beside the bundle are "
            "its checksums, FILE.sums, which sha256sum -c reads. It is a run, and the same command goes on with it.",
            _SIGNED,
        ),
        BULK,
        (
            ("pack what a lock names", "transship bundle create nightly.lock.json -o nightly.tar"),
            ("in volumes for DVDs", "transship bundle create nightly.yaml -o nightly.tar --split 4480MiB"),
            ("what is new since monday", "transship bundle create nightly.yaml -o tuesday.tar --since monday.tar"),
            (
                "and sign it",
                "transship bundle create nightly.yaml -o nightly.tar --sign-by KEY --sign-passphrase-file passphrase",
            ),
        ),
    ),
    "bundle sign": Page(
        (
            "Each bundle is verified first, as the signature vouches for it; what the key has signed already stays.",
            _SIGNED,
        ),
        (
            (0, "all are signed"),
            (1, "a bundle is damaged, or the passphrase is wrong"),
            (2, "the options are wrong, the key cannot be used, or there is no such bundle"),
            *STOPPED,
        ),
        (
            ("with a key of GnuPG's", "transship bundle sign nightly.tar --sign-by KEY"),
            ("with a key of cosign's", "transship bundle sign nightly.tar --sign-by-sigstore-private-key my.private"),
        ),
    ),
    "bundle load": Page(
        (
            "Verifies the bundles first, and loads nothing where one is damaged. Then it is a run: the same command "
            "goes on with it, and every image is read back. Below docker://registry/prefix an image keeps its "
            "repository, without the registry it came from; elsewhere its whole name. It prints each old reference "
            "and the new one.",
            _JUDGED,
        ),
        (
            (0, "all images verified"),
            (1, "a bundle is damaged or not signed, or some images failed; each is named"),
            (2, "the options are wrong, or there is no such bundle; nothing was started"),
            *STOPPED,
        ),
        (
            ("into a registry", "transship bundle load nightly.tar --to docker://registry.example/mirror"),
            ("into an engine", "transship bundle load nightly.tar --to docker-daemon:"),
        ),
    ),
    "bundle apply": Page(
        (
            "What bundle create --since left out must be at the place already, where the bundle before was loaded or "
            "applied; it is neither read nor sent again. In a registry it may lie in another repository below the "
            "prefix, and is mounted from there. Where something is missing nothing is loaded, and the error names it. "
            "With --base it is read from the file of the older bundle, wherever this one is loaded to. An engine keeps "
            "no layer as it was packed, and needs that file. The rest is as with bundle load.",
            _JUDGED,
        ),
        (
            (0, "all images verified"),
            (1, "a bundle is damaged or not signed, its base is not there, or some images failed; each is named"),
            (2, "the options are wrong, or there is no such bundle; nothing was started"),
            *STOPPED,
        ),
        (
            (
                "on top of monday's",
                "transship bundle apply tuesday.tar --to docker://registry.example/mirror",
            ),
            (
                "where monday's is but a file",
                "transship bundle apply tuesday.tar --base monday.tar --to docker-daemon:",
            ),
        ),
    ),
    "bundle verify": Page(
        (
            "Reads every byte once, unpacks nothing, and asks no network. It names the files that are missing, short "
            "or damaged, the first of them first, and every image that is not whole.",
            _JUDGED,
        ),
        (
            (0, "all is as it was made"),
            (1, "something is missing or damaged, or not signed"),
            (2, "the options are wrong, or there is no such bundle"),
            *STOPPED,
        ),
        (
            ("after it was carried", "transship bundle verify nightly.tar"),
            ("and who made it", "transship bundle verify nightly.tar --signed-by team.gpg"),
        ),
    ),
    "bundle list": Page(
        ("It prints the name, the digest and the bytes of each image, what it came from, and what it lost.",),
        _OWN_FILE,
        (("what is in it", "transship bundle list nightly.tar"),),
    ),
    "bundle diff": Page(
        ("It prints the images that came, went or changed, the layers of those, and the bytes that are new.",),
        _OWN_FILE,
        (("what a week brought", "transship bundle diff monday.tar nightly.tar"),),
    ),
}
"""By command, in the order of --help."""
