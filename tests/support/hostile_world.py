"""A registry that nobody should trust, a sink that records what leaves for elsewhere, and the commands that meet them.

The registry wants a password for everything. One image in it is sound but for what a test spoils.
"""

import base64
import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from support.command import tree
from support.figures import tally
from support.hostile import Hostile, Reply, Seen, ranged, serving
from support.images import ImageBytes, make_image, write_layout
from support.serving import write_directory
from support.zygote import Done, Zygote
from transship.pipeline.digest import Digest

USER, PASSWORD = "canary-user", "canary-pa55word"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
MOST_MEMORY = 64 << 20
MOST_READ = 16 << 20
IMAGE = make_image("hostile", docker=False)
COMMANDS = ("copy", "inspect", "list-tags", "sync", "run", "lock", "verify", "delete", "layers")
PUSH = ("push", "push-run", "push-sync")
"""Commands that write to the registry."""
READ = ("copy", "inspect", "sync", "run", "verify", "layers")
"""Commands that read manifests and what these name."""
ASK = (*READ, "lock")
"""Commands that read manifests."""
_MET = "{commands:.0f} commands: at most {above:.0f} MiB above an idle process, {read:.1f} MiB sent to one"
_SINK = "{requests:.0f} requests at the recording sink, {leaks:.0f} with credentials"
_TRACE = re.compile(r"Traceback|^\s+File ", re.MULTILINE)
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass
class Script:
    """Answers as a registry with ``image`` as ``tag`` of every repository, but for what is told otherwise.

    ``manifest`` and ``media_type`` replace what comes for the tag; ``blobs`` are served besides the image's;
    ``instead`` is asked first, and may answer anything.
    """

    image: ImageBytes = IMAGE
    manifest: bytes | None = None
    media_type: str | None = None
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    tags: object = ("v1",)
    headers: Mapping[str, str] = field(default_factory=dict)
    instead: Callable[[Seen], Reply | None] = lambda _: None
    challenge: str = 'Basic realm="hostile"'

    def __call__(self, seen: Seen) -> Reply:
        if seen.authorization != BASIC and self.challenge:
            return Reply(401, headers={"WWW-Authenticate": self.challenge})
        if (told := self.instead(seen)) is not None:
            return told
        if seen.path == "/v2/":
            return Reply(200)
        kind, _, name = seen.path.rpartition("/")
        if seen.method == "DELETE":
            return Reply(202)
        if kind.endswith("/tags"):
            return Reply(200, json.dumps({"name": "x", "tags": self.tags}).encode())
        held = {str(digest): raw for digest, raw in self.image.all_blobs.items()} | dict(self.blobs)
        if kind.endswith("/manifests"):
            named = name.startswith("sha256:")
            raw = held.get(name) if named and name in self.blobs else self.image.manifest_raw
            raw = self.manifest if self.manifest is not None and name not in self.blobs else raw
            media_type = self.media_type
            if media_type is None:
                media_type = str(json.loads(raw).get("mediaType", "")) if raw else ""
            return Reply(200, raw or b"", {"Content-Type": media_type, **self.headers})
        return ranged(held[name], seen) if name in held else Reply(404)


@dataclass
class World:
    """One test's registry, sink and working folder."""

    zygote: Zygote
    folder: Path
    registry: Hostile
    sink: Hostile
    counted: int = 0

    def run(self, command: str, repository: str = "app", *, extra: tuple[str, ...] = ()) -> Done:
        """Run a command on ``repository`` with the password for the registry at hand; nothing else may change."""
        work = self.folder / "work"
        for made in (work / "out", work / "runs", *work.glob("layers-*")):
            shutil.rmtree(made, ignore_errors=True)
        for made in (work / "out.json", work / "out.lock.json"):
            made.unlink(missing_ok=True)
        self.registry.sent = 0
        image = f"docker://{self.registry.name}/{repository}"
        named = image if "@" in image else f"{image}:v1"
        job = f"{{from: 'oci:{self._given() / 'layout'}:x', to: ['{named}']}}"
        job = job if command == "push-run" else f"{{from: '{named}', to: ['dir:out']}}"
        (work / "batch.yaml").write_text(
            f"version: 1\nname: b\nimages: [{job}]\n"
            f"registries: {{'{self.registry.name}': {{tls-verify: false, authfile: ../auth.json}}}}\n"
        )
        words = self._words(command, image, named)
        before = self._elsewhere()
        done = self.zygote.run(work, *words, *extra)
        assert self._elsewhere() == before, "something outside the destination was touched"
        self.check(done)
        return done

    def _words(self, command: str, image: str, named: str) -> tuple[str, ...]:
        once = ("--retry-times", "0", "--authfile", "../auth.json")
        repository = image.removeprefix("docker://")
        return {
            "copy": ("copy", *once, "--src-tls-verify=false", named, "dir:out"),
            "inspect": ("inspect", *once, "--tls-verify=false", named),
            "list-tags": ("list-tags", *once, "--tls-verify=false", image),
            "sync": ("sync", "--src", "docker", "--dest", "dir", *once, "--src-tls-verify=false", repository, "out"),
            "run": ("run", "batch.yaml"),
            "lock": ("lock", "batch.yaml", "-o", "out.lock.json"),
            "layers": ("layers", *once, "--tls-verify=false", named),
            "verify": ("verify", *once[2:], "--tls-verify=false", named),
            "delete": ("delete", *once, "--tls-verify=false", named),
            "push": ("copy", *once, "--dest-tls-verify=false", f"oci:{self._given() / 'layout'}:x", named),
            "push-run": ("run", "batch.yaml"),
            "push-sync": (
                "sync", "--src", "dir", "--dest", "docker", *once, "--dest-tls-verify=false",
                str(self._given() / "images"), repository,
            ),
            "login": (
                "login", "--tls-verify=false", "-u", USER, "-p", PASSWORD, "--authfile=out.json", self.registry.name,
            ),
        }[command]  # fmt: skip

    def _given(self) -> Path:
        """Return the folder of what is pushed, made when first asked for."""
        folder = self.folder / "given"
        if not folder.exists():
            write_layout(folder / "layout", {"x": IMAGE})
            (folder / "images").mkdir()
            write_directory(folder / "images/app", IMAGE)
        return folder

    def _elsewhere(self) -> dict[str, tuple[int, str]]:
        """Return all there is but the destination and the run folder."""
        there = tree(self.folder)
        return {
            name: state
            for name, state in there.items()
            if not name.startswith(("work/out", "work/runs", "work/layers-"))
        }

    def check(self, done: Done) -> None:
        """Hold what must hold whatever comes: no traceback, no secret, no escape, bounds of memory and bytes."""
        said = done.out + done.err
        assert done.code in (0, 1, 2), (done.code, said[-2000:])
        assert not _TRACE.search(said), said[-2000:]
        assert not OBEYED.search(said), ascii(said[-2000:])
        assert PASSWORD not in said
        assert BASIC.split()[1] not in said
        above = done.memory - self.zygote.idle
        tally(33, _MET, {"commands": 1}, {"above": above / (1 << 20), "read": self.registry.sent / (1 << 20)})
        assert above <= MOST_MEMORY, f"{above >> 20} MiB more than an idle process"
        assert self.registry.sent <= MOST_READ, f"{self.registry.sent >> 20} MiB read"
        self.nothing_left()

    def nothing_left(self) -> None:
        """Hold that no request at the sink had a secret in it."""
        new, self.counted = self.sink.seen[self.counted :], len(self.sink.seen)
        tally(46, _SINK, {"requests": len(new), "leaks": sum(carries_secret(seen) for seen in new)})
        for seen in self.sink.seen:
            assert not carries_secret(seen), seen

    def refused(self, command: str, says: str, repository: str = "app") -> Done:
        """Run; expect a failure told in one line that says ``says``, and no image at the destination."""
        done = self.run(command, repository)
        lines = [line for line in done.err.splitlines() if says in line]
        assert done.code in (1, 2), (command, done.err)
        assert len(lines) == 1 or (lines and command == "verify"), (command, done.err)
        if command in ("copy", "inspect", "list-tags", "delete", "push", "login"):
            assert done.err.splitlines() == lines
            assert lines[0].startswith("transship: ")
        assert not list((self.folder / "work").rglob("out*/**/manifest.json")), "half an image at the destination"
        assert not list((self.folder / "work").rglob("layers-*/**/manifest.json")), "half an image's layers"
        assert not (self.folder / "work/out.lock.json").exists(), "a lock of what is not sound"
        assert not (self.folder / "work/out.json").exists(), "credentials kept that were not accepted"
        return done


def carries_secret(seen: Seen) -> bool:
    """Say whether a request has a credential in it, by a header or anywhere in its words."""
    everything = f"{seen.target} {seen.headers} {seen.body[:10000]!r}"
    by_header = "authorization" in seen.headers or "cookie" in seen.headers
    return by_header or PASSWORD in everything or BASIC.split()[1] in everything


@contextlib.contextmanager
def world(zygote: Zygote, folder: Path, script: Callable[[Seen], Reply] | None = None) -> Iterator[World]:
    """Run registry and sink; ``folder`` gets the working folder, an auth file and a sentinel beside it."""
    (folder / "work").mkdir()
    (folder / "sentinel").mkdir()
    (folder / "sentinel/letter").write_text("dear all\n")
    with serving(lambda _: Reply(200, b"{}")) as sink, serving(script or Script()) as registry:
        auth = {"auths": {registry.name: {"auth": BASIC.split()[1]}}}
        (folder / "auth.json").write_text(json.dumps(auth))
        (folder / "auth.json").chmod(0o600)
        yield World(zygote, folder, registry, sink)


def changed(change: Callable[[dict[str, object]], object]) -> bytes:
    """Return the manifest of the image, its document changed."""
    document = json.loads(IMAGE.manifest_raw)
    change(document)
    return json.dumps(document).encode()


def digest(raw: bytes) -> str:
    return str(Digest.of(raw))
