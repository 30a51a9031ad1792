"""What the manual says of each command beyond its arguments."""

from collections.abc import Mapping
from typing import Final

from transship.pipeline.cli.bundle_pages import BUNDLE_PAGES
from transship.pipeline.cli.page import AS_SKOPEO, BULK, OWN, PLAIN, STOPPED, Page

_REFERENCES: Final = (
    "An image is named as transport:reference. docker://host/name:tag or @digest is one in a registry; oci:PATH[:NAME] "
    "an OCI layout, oci-archive:PATH[:NAME] that in a tar; bundle:PATH[:NAME] one that bundle create made; "
    "docker-archive:PATH[:NAME:TAG] what docker save writes; "
    "dir:PATH plain files; docker-daemon:NAME:TAG an image of a Docker Engine; containers-storage:[STORE]NAME one of "
    "Podman; sif:PATH a Singularity image and tarball:PATH[:PATH...] tar files, these two to be read alone. An image "
    "without a name is PATH:@N, counted from 0."
)

PAGES: Final[Mapping[str, Page]] = {
    "": Page(
        (
            "Every byte is hashed when read and hashed again at the destination before an image counts as done. Kill "
            "it at any point: the same command goes on.",
            _REFERENCES,
        ),
        (
            (0, "done"),
            (1, "failed; of the commands that skopeo has too, wrong options as well"),
            (2, "the image was not found; of run, lock, bundle, status, verify, report and serve: options are wrong"),
            *STOPPED,
        ),
    ),
    "run": Page(
        (
            "The batch file, or a lock of it, says what to copy, from where to where, and in which form; relative "
            "paths in it are relative to it. All that is done is written down in a run folder, and the same command "
            "goes on from there, after a kill, a full disk or a registry that was down. Change a line of the batch "
            "file, and only the images of that line are done anew.",
        ),
        BULK,
        (
            ("check the batch file and print the plan", "transship run nightly.yaml --dry-run"),
            ("do it, or go on with it", "transship run nightly.yaml"),
            ("do what a lock of it says", "transship run nightly.lock.json"),
            ("share it with other machines", "transship run nightly.yaml --scheduler http://host:8082"),
        ),
    ),
    "lock": Page(
        (
            "Tags move; a lock says of each image of a batch file which digest it had, which manifests and blobs are "
            "read of it, and what is wanted of it. transship run takes a lock in place of the batch file, does the "
            "same, and asks for no tag. Made again of the same images it is the same file, byte for byte.",
        ),
        (
            (0, "the lock is written, or all is as it says"),
            (1, "an image cannot be resolved, or something is another one now; each is named"),
            (2, "the batch file, the lock or the options are wrong"),
            *STOPPED,
        ),
        (
            ("write it", "transship lock nightly.yaml -o nightly.lock.json"),
            ("see what has changed since", "transship lock nightly.yaml --check nightly.lock.json"),
        ),
    ),
    **BUNDLE_PAGES,
    "status": Page(
        ("It reads the run folder alone, also while the run is at work, and ends with 0 whatever it finds.",),
        OWN,
        (("how far the run of nightly.yaml is", "transship status nightly"),),
    ),
    "verify": Page(
        (
            "Of a run every image that was written is read and compared with what the run noted; a reference is read "
            "as it stands. What is wrong with one image never ends the check of the others.",
            _REFERENCES,
        ),
        (
            (0, "all are whole"),
            (1, "something is missing, damaged or not written yet; each is named"),
            (2, "the options are wrong, or there is no such run"),
            *STOPPED,
        ),
        (
            ("all that a run wrote", "transship verify runs/nightly"),
            ("one image in a registry", "transship verify docker://registry.example/team/app:v1"),
        ),
    ),
    "report": Page(
        ("It says of every image which digest it had and which it has now, what a conversion lost, and what failed.",),
        OWN,
        (
            ("read it", "transship report nightly"),
            ("write a page to hand on", "transship report nightly --html report.html"),
        ),
    ),
    "serve": Page(
        (
            "Every puller can read what is in them, by the distribution protocol, without a copy being made. It has no "
            "TLS and no login: do not open it to a network that you do not trust.",
            "Several are one registry. One name for two images is refused, but that a bundle on a base counts before "
            "its base; served without what its base brought it is refused too.",
            "With --signed-by or --key only bundles are served, of which one of these keys has signed all names and "
            "digests. Blobs are given out unread: who asks for one by its digest sees what he gets.",
        ),
        ((0, "ended by Ctrl-C or SIGTERM"), (1, "failed"), (2, "the options are wrong, or there is nothing to serve")),
        (
            ("give a layout to the pullers of this machine", "transship serve out/mirror --port 5000"),
            ("a bundle, and what came after it", "transship serve monday.tar tuesday.tar --port 5000"),
            ("if the team has signed it", "transship serve nightly.tar --signed-by team.gpg --port 5000"),
        ),
    ),
    "copy": Page(
        (
            "The destination is as it was until all of the new image is there, and stays so where the copy fails. "
            "What is written is read back and hashed. Layers, config and manifest keep their bytes where the "
            "destination can hold them; what a conversion cannot keep is printed.",
            _REFERENCES,
        ),
        AS_SKOPEO,
        (
            (
                "a registry's image, all its platforms, into a layout",
                "transship copy --all docker://registry.example/team/app:v1 oci:mirror:team/app:v1",
            ),
            (
                "from one registry to another",
                "transship copy docker://registry.example/app:v1 docker://other.example/app:v1",
            ),
            ("as docker load reads it", "transship copy oci:mirror:team/app:v1 docker-archive:app.tar:team/app:v1"),
        ),
    ),
    "inspect": Page(
        (
            "Without --raw, --config or --format it prints JSON, as skopeo does. Of an index it describes this "
            "machine's platform, or that of --override-os, --override-arch and --override-variant; Digest is the "
            "index's own.",
            _REFERENCES,
        ),
        AS_SKOPEO,
        (
            ("its digest alone", "transship inspect --format {{.Digest}} docker://registry.example/team/app:v1"),
            ("its manifest as it is", "transship inspect --raw oci:mirror:team/app:v1"),
        ),
    ),
    "list-tags": Page(
        ("It prints JSON, as skopeo does; every page of a long list is asked for.",),
        AS_SKOPEO,
        (("the tags of a repository", "transship list-tags docker://registry.example/team/app"),),
    ),
    "delete": Page(
        (
            "In a registry the digest that a tag points to is deleted, and with it every tag on it. In an OCI layout "
            "the name goes, and the blobs that no other image there needs. In Podman's storage the image goes with all "
            "its names, which are printed; not where a container is made of it.",
        ),
        AS_SKOPEO,
        (
            ("from a registry", "transship delete docker://registry.example/team/app:v1"),
            ("from a layout", "transship delete oci:mirror:team/app:v1"),
        ),
    ),
    "layers": Page(
        ("Deprecated: transship copy to dir: does the same, and more. Without digests every blob is written.",),
        AS_SKOPEO,
        (("all of them", "transship layers docker://registry.example/team/app:v1"),),
    ),
    "manifest-digest": Page(
        ("The signatures of a signed schema 1 manifest are left out of it.",),
        PLAIN,
        (("the digest of a manifest", "transship manifest-digest manifest.json"),),
    ),
    "generate-sigstore-key": Page(
        (
            "ECDSA over P-256: PREFIX.private is encrypted, in the form of skopeo and cosign, PREFIX.pub is what "
            "others verify with. What is there is never overwritten. It needs the extra trust: "
            "pip install 'transship[trust]'.",
        ),
        PLAIN,
        (
            ("asked for the passphrase", "transship generate-sigstore-key --output-prefix my-key"),
            (
                "the passphrase from a file",
                "transship generate-sigstore-key --output-prefix my-key --passphrase-file passphrase",
            ),
        ),
    ),
    "login": Page(
        (
            "The registry is asked whether it takes them, then they are kept in an auth file, which copy and the other "
            "commands read, and skopeo and Podman too. A name and password that are not given are asked for.",
        ),
        PLAIN,
        (
            ("asked for name and password", "transship login registry.example"),
            (
                "the password from a file",
                "transship login --username me --password-stdin registry.example < password-file",
            ),
        ),
    ),
    "logout": Page(
        ("Credentials that stand in another file are an error that says so.",),
        PLAIN,
        (("from one registry", "transship logout registry.example"), ("from all", "transship logout --all")),
    ),
    "sync": Page(
        (
            "The work is that of transship run, in a folder under runs/ named after source and destination: images in "
            "parallel, each verified. Stopped, the same command goes on; once ended, it asks the source again and "
            "fetches what changed. Two images for one place are refused before anything is written.",
        ),
        AS_SKOPEO,
        (
            (
                "every tag of a repository into folders",
                "transship sync --src docker --dest dir --scoped registry.example/team/app out",
            ),
            (
                "those folders into another registry",
                "transship sync --src dir --dest docker out mirror.example/team",
            ),
        ),
    ),
    "standalone-sign": Page(
        ("The key is one of the user's own GnuPG, which asks for its passphrase unless a file has that.",),
        PLAIN,
        (
            (
                "sign what is in a dir: folder",
                "transship standalone-sign out/manifest.json registry.example/app:v1 KEY -o out/signature-1",
            ),
        ),
    ),
    "standalone-verify": Page(
        (
            "The signature must be by one of the keys, of this very manifest, under this very name. With a file of "
            "public keys no other key counts, and the user's own GnuPG is neither read nor changed.",
        ),
        PLAIN,
        (
            (
                "by any key of a file",
                "transship standalone-verify --public-key-file keys.gpg manifest.json registry.example/app:v1 any "
                "signature-1",
            ),
        ),
    ),
    "untrusted-signature-dump-without-verification": Page(
        ("Nothing of what it prints is checked: base no decision on it.",),
        PLAIN,
        (("what a signature claims", "transship untrusted-signature-dump-without-verification signature-1"),),
    ),
    "completion": Page(
        (
            "The script asks transship itself what may come next: commands, options, their values, transports, paths, "
            "runs. It never asks a registry. bash: needs nothing else; put it where bash-completion finds it to load "
            "it in every shell. PowerShell: add it to $PROFILE.",
        ),
        ((0, "done"), (1, "the options are wrong")),
        (
            ("bash, in this shell", "source <(transship completion bash)"),
            ("bash, in every shell", "transship completion bash > /etc/bash_completion.d/transship"),
            ("zsh, in every shell", 'transship completion zsh > "${fpath[1]}/_transship"'),
            ("fish, in every shell", "transship completion fish > ~/.config/fish/completions/transship.fish"),
            ("PowerShell, in this shell", "transship completion powershell | Out-String | Invoke-Expression"),
        ),
    ),
}
"""By command; transship itself is the empty name."""
