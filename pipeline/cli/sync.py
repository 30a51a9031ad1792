"""``transship sync``: many images in skopeo's words, as a run that goes on where it was."""

import argparse
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from transship.pipeline.cli.connect import account_settings, configured, connect, wanted_platform
from transship.pipeline.cli.sync_arguments import refuse_contradictions
from transship.pipeline.cli.trust_options import enforcing, guard_of, signing
from transship.pipeline.convert.shape import Shape
from transship.pipeline.disk import at_disk
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import Error, UsageError, once_found
from transship.pipeline.jobs import Plan
from transship.pipeline.manifest.referrer import images_of
from transship.pipeline.referrers import refuse_place
from transship.pipeline.registry.registries import Registries
from transship.pipeline.registry.settings import HostSettings
from transship.pipeline.sync import sources
from transship.pipeline.sync.plan import Place, Target, Wish, places, plan_sync
from transship.pipeline.sync.reading import SourceFile, read_source_file
from transship.pipeline.trust.carrying import Wish as Signatures

if TYPE_CHECKING:
    from transship.pipeline.trust.guard import Guard
    from transship.pipeline.trust.sigstore.session import Session
    from transship.tasks.run import Outcome

_REPORT: Final = "report.json"
_FORMATS: Final = {"": "keep", "oci": "oci", "v2s2": "docker", "v2s1": "v2s1"}
_ANYTHING: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class _Request:
    """What the command line and the source file ask for; ``digest`` stands for all that decides the plan."""

    options: argparse.Namespace
    settings: Mapping[str, HostSettings]
    default: HostSettings
    to: HostSettings
    file: SourceFile | None
    digest: str
    name: str
    guard: "Guard"
    signing: str
    session: "Session | None"

    def connect(self, processes: int = 1) -> Registries:
        """Return connections to the source's registries, as one of so many processes."""
        shares = {host: _share(settings, processes) for host, settings in self.settings.items()}
        return connect(self.options, _share(self.default, processes), shares)

    def connect_target(self, processes: int) -> Registries:
        """Return connections to the destination's registry, as one of so many processes."""
        return connect(self.options, _share(self.to, processes))


def _share(settings: HostSettings, processes: int) -> HostSettings:
    return settings._replace(concurrency=max(1, settings.concurrency // processes))


def perform(options: argparse.Namespace) -> int:
    """Copy what the source has; return 0 where all of it is verified at the destination, else 1."""
    missed: list[Error] = []
    with once_found():
        request = _read(options)
        if options.dry_run:
            return _show(_placed(request, missed), missed)
        return _run(request, missed)


def _read(options: argparse.Namespace) -> _Request:
    if options.src == options.dest == "dir":
        raise UsageError("sync: from dir to dir is not what it is for", advice="use rsync")
    refuse_contradictions(options)
    if options.referrers and options.dest == "dir":
        refuse_place("dir", "")
    default, to = account_settings(options, "src-"), account_settings(options, "dest-")
    # Before any image is begun, and for all processes.
    configured(options)
    file = read_source_file(Path(options.source), default) if options.src == "yaml" else None
    source = options.source if options.src == "docker" else os.path.abspath(options.source)
    destination = options.destination if options.dest == "docker" else os.path.abspath(options.destination)
    guard, makes = guard_of(options), signing(options)
    if makes.sigstore and not options.dry_run:
        # Whatever is wrong with a key, and its passphrase, before anything is begun.
        makes.say()
    signs = ""
    if makes.signers or options.remove_signatures:
        from transship.pipeline.trust.signing import to_text  # noqa: PLC0415 - loads what starts programs

        signs = to_text(Signatures(makes, options.remove_signatures))
    if makes.signers and options.dest == "dir":
        raise UsageError("--sign-by: an image in a dir: has no name that could be signed", advice="sign it with copy")
    ends = [options.src, source, options.dest, destination]
    asked: list[Any] = [
        *ends, options.all, options.scoped, options.append_suffix, options.format, options.preserve_digests,
        _platforms(options), file.choice if file else None, *(["referrers"] if options.referrers else []),
        *([guard.fingerprint] if guard.fingerprint else []), *([signs] if signs else []),
    ]  # fmt: skip
    return _Request(
        options,
        file.settings if file else {},
        default,
        to,
        file,
        _digest(asked),
        f"{_slug(source)}-{_digest(ends)[:8]}",
        guard,
        signs,
        makes.session,
    )


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _slug(source: str) -> str:
    return f"sync-{_ANYTHING.sub('-', os.path.basename(source) or 'all')[:60]}"


def _platforms(options: argparse.Namespace) -> str:
    return "all" if options.all else str(wanted_platform(options))


def _placed(request: _Request, missed: list[Error]) -> "list[tuple[sources.Image, Place]]":
    """Ask the source what it has; what cannot be listed goes to ``missed`` under --keep-going."""
    options = request.options
    with request.connect() as registries:

        def tags(repository: DockerReference) -> Sequence[str]:
            client, there = registries.home(repository)
            found = client.list_tags(there.repository)
            return images_of(found) if options.referrers else found

        if request.file:
            skip = missed.append if options.keep_going else None
            found = sources.from_selections(request.file.selections, tags, skip)
        elif options.src == "docker":
            found = sources.from_repository(options.source, tags)
        else:
            found = sources.from_folder(options.source)
    return places(found, Target(options.dest, options.destination, options.scoped, options.append_suffix))


def _show(placed: "Sequence[tuple[sources.Image, Place]]", missed: Sequence[Error]) -> int:
    for number, (image, place) in enumerate(placed, 1):
        _log("info", f"Would have copied image ref {number}/{len(placed)}", **{"from": image.source, "to": place})
    _log("info", f"Would have synced {len(placed)} images from {_repositories(placed)} sources")
    return _failed(missed)


def _run(request: _Request, missed: list[Error]) -> int:
    from transship.pipeline.cli.run import conclude  # noqa: PLC0415
    from transship.pipeline.durable import write_durably  # noqa: PLC0415
    from transship.pipeline.manifest.document import dump  # noqa: PLC0415
    from transship.pipeline.plan_file import save_plan  # noqa: PLC0415
    from transship.pipeline.report import report  # noqa: PLC0415
    from transship.tasks.lock import locked  # noqa: PLC0415

    root = (Path(request.options.runs) / request.name).resolve()
    if request.options.digestfile:
        with at_disk(Path(request.options.digestfile)):
            Path(request.options.digestfile).write_text("")
    going_on = _interrupted(request, root)
    plan = going_on or _plan(request, missed)
    with locked(root):
        if not going_on:
            save_plan(root, plan)
            (root / _REPORT).unlink(missing_ok=True)
        outcome = _execute(request, root, plan, anew=not going_on)
        write_durably(root / _REPORT, dump(report(root, plan, outcome.unkept)))
    _write_digests(request.options.digestfile, root, plan)
    code = conclude(root, plan, outcome)
    return max(code, _failed(missed))


def _interrupted(request: _Request, root: Path) -> Plan | None:
    """Return the plan of a sync of just this that was stopped: it goes on; one that ended asks the source again."""
    from transship.pipeline.plan_file import read_plan  # noqa: PLC0415

    before = read_plan(root)
    same = before is not None and before.batch_digest == request.digest
    return before if same and not (root / _REPORT).exists() else None


def _plan(request: _Request, missed: list[Error]) -> Plan:
    shape = Shape(_FORMATS[request.options.format], preserve=request.options.preserve_digests)  # type: ignore[arg-type]
    placed = _placed(request, missed)
    # A list that is not whole is asked for again, also where this run is stopped.
    digest = f"{request.digest}-partial" if missed else request.digest
    options = request.options
    wish = Wish(_platforms(options), shape, options.referrers, request.signing, not options.remove_signatures)
    return plan_sync(request.name, digest, placed, wish, request.guard)


def _execute(request: _Request, root: Path, plan: Plan, *, anew: bool) -> "Outcome":
    from transship.pipeline.cli.progress import make_progress  # noqa: PLC0415
    from transship.pipeline.cli.run import announce, blob_threads, processes_for, set_limits, workers  # noqa: PLC0415
    from transship.tasks.run import execute, forget_replaced, refresh  # noqa: PLC0415
    from transship.tasks.workspace import Workspace  # noqa: PLC0415

    set_limits()
    progress = make_progress(request.options.progress, plan.written)
    workspace = Workspace(
        root,
        plan,
        request.connect,
        blob_threads(),
        progress.bytes,
        targets=request.connect_target,
        enforce=enforcing(request.guard),
        session=request.session,
    )
    try:
        if anew:
            refresh(workspace)
            forget_replaced(workspace)
        return execute(
            workspace,
            workers(),
            announce(plan, progress),
            processes=processes_for(plan, 0),
            fail_fast=not request.options.keep_going,
        )
    except KeyboardInterrupt:
        workspace.stop()
        raise
    finally:
        progress.close()
        workspace.close()


def _write_digests(path: str, root: Path, plan: Plan) -> None:
    from transship.pipeline.report import fold  # noqa: PLC0415

    if path:
        lines = [f"{line.new} {line.destination}\n" for line in fold(root, plan) if line.state == "verified"]
        with at_disk(Path(path)):
            Path(path).write_text("".join(lines))


def _failed(missed: Sequence[Error]) -> int:
    for error in missed:
        _log("error", f"not listed, and nothing of it copied: {error}")
    return 1 if missed else 0


def _repositories(placed: "Sequence[tuple[sources.Image, Place]]") -> int:
    return len({getattr(image.source, "name", "") for image, _ in placed})


def _log(level: str, message: str, **fields: object) -> None:
    """Print a line as skopeo logs it, for scripts that read those."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    more = "".join(f" {key}={json.dumps(str(value))}" for key, value in fields.items())
    print(f"time={json.dumps(now)} level={level} msg={json.dumps(message)}{more}", file=sys.stderr)
