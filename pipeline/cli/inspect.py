"""``transship inspect``: what an image is, in skopeo's words."""

import argparse
import sys
from contextlib import closing

from transship.pipeline.cli.connect import account_settings, connect, wanted_platform
from transship.pipeline.cli.opened import opened
from transship.pipeline.digest import Digest
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import DeniedError, NotFoundError, UsageError, shown
from transship.pipeline.inspection.image import look
from transship.pipeline.inspection.summary import digest_of, oci_config, summary
from transship.pipeline.inspection.values import Struct, to_json
from transship.pipeline.manifest.views import Image
from transship.pipeline.reference import DaemonReference, PathReference, Reference, StorageReference, parse_reference
from transship.pipeline.registry.registries import Registries

_IS_JSON = frozenset({"", "json", "{{json}}", "{{json.}}"})


def perform(options: argparse.Namespace) -> int:
    """Print it; return 0."""
    if options.raw and options.format:
        raise UsageError("inspect: --raw does not support --format", advice="leave one out")
    if options.manifest_digest not in ("", "sha256", "sha512"):
        raise UsageError(f"--manifest-digest {shown(options.manifest_digest)}: unknown", advice="sha256 or sha512")
    reference = parse_reference(options.image)
    with connect(options, account_settings(options, "")) as registries:
        sys.stdout.buffer.write(_shown(reference, options, registries))
    return 0


def _shown(reference: Reference, options: argparse.Namespace, registries: Registries) -> bytes:
    with closing(opened(reference, registries, options.shared_blob_dir)) as source:
        root = source.manifest()
        if options.raw and not options.config:
            return root.raw
        image, config = look(source, root, wanted_platform(options))
        if not options.config:
            # As skopeo: who names the config by another algorithm wants that one.
            own = image.config.digest.algorithm if isinstance(image, Image) else "sha256"
            digest = digest_of(root, options.manifest_digest or own)
            tags = [] if options.no_tags else _tags(reference, registries)
            return _formatted(summary(_name(reference), digest, tags, image, config), options.format)
        if not isinstance(image, Image):
            raise UsageError(f"{reference}: a schema 1 image has no config", advice="--raw shows its manifest")
        return config if options.raw else _formatted(oci_config(config, f"config {Digest.of(config)}"), options.format)


def _formatted(found: Struct, form: str) -> bytes:
    if "".join(form.split()) in _IS_JSON:
        return f"{to_json(found, indent=4)}\n".encode()
    from transship.pipeline.inspection.template import render  # noqa: PLC0415  (few ask for one)

    return render(form, found).encode("utf-8", "replace")


def _name(reference: Reference) -> str:
    if isinstance(reference, DockerReference):
        return reference.name
    if isinstance(reference, DaemonReference | StorageReference):
        return reference.named.name if reference.named else ""
    if isinstance(reference, PathReference) and reference.transport == "docker-archive" and reference.name:
        return DockerReference.parse(reference.name).name
    return ""


def _tags(reference: Reference, registries: Registries) -> list[str] | None:
    if not isinstance(reference, DockerReference):
        return []
    try:
        client, there = registries.home(reference)
        return client.list_tags(there.repository)
    except (DeniedError, NotFoundError) as error:
        # Some registries keep the list from those who may pull, one has no such list at all.
        if "DENIED:" not in error.message and "404 page not found" not in error.message:
            raise
        print(f"transship: warning: the registry does not list its tags: {shown(error.message)}", file=sys.stderr)
        return None
