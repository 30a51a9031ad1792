"""A folder where transship and skopeo sign images by OpenPGP and ask policies for signatures."""

import json
import subprocess
from pathlib import Path
from typing import NamedTuple

from support.command import command
from support.images import make_image, make_multi
from support.keys import Keys
from support.serving import write_directory

NAME = "registry.example/app:v1"


class Site(NamedTuple):
    """The folder, with the image ``dir:one`` and the index ``dir:many``, and the keys of both tools."""

    folder: Path
    keys: Keys

    def policy(self, key: str = "good", identity: str = "") -> str:
        """Write a policy by which all images are signed by ``key``; return its file."""
        requirement: dict[str, object] = {
            "type": "signedBy",
            "keyType": "GPGKeys",
            "keyPath": str(self.keys.file(key)),
        }
        if identity:
            requirement["signedIdentity"] = {"type": "exactReference", "dockerReference": identity}
        path = self.folder / f"policy-{key}-{identity.replace('/', '-')}.json"
        path.write_text(json.dumps({"default": [requirement]}))
        return str(path)

    def done(self, *words: str) -> str:
        """Run our command, which ends well; return what it printed."""
        made = command(self.folder, *words)
        assert made.returncode == 0, made.stderr
        return made.stdout + made.stderr

    def refused(self, *words: str, lines: int = 1) -> str:
        """Run our command, which fails with that many lines; return them."""
        made = command(self.folder, *words)
        assert made.returncode == 1, made.stderr
        assert made.stderr.count("\n") == lines, made.stderr
        return made.stderr

    def theirs(self, *words: str) -> str:
        """Run skopeo, which ends well; return its output."""
        done = self._skopeo(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused_by_skopeo(self, *words: str) -> str:
        done = self._skopeo(*words)
        assert done.returncode == 1, done.stderr
        return done.stderr

    def _skopeo(self, *words: str) -> "subprocess.CompletedProcess[str]":
        command = ["skopeo", *words]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False)


def signing_site(folder: Path, keys: Keys) -> Site:
    """Write the images; who uses it has GNUPGHOME and HOME in the environment."""
    write_directory(folder / "one", make_image("signed one"))
    write_directory(folder / "many", make_multi("signed many"))
    return Site(folder, keys)
