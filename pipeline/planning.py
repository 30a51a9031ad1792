"""From a batch as read to the plan of a run: which images, which shapes, which deliveries. Pure."""

from dataclasses import replace

from transship.pipeline.batch import Batch, Destination, Job, RegistrySettings
from transship.pipeline.batch.signatures import NOTHING
from transship.pipeline.compression import Budget, Compression
from transship.pipeline.convert.shape import Shape, bounded
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import UsageError
from transship.pipeline.jobs import ARCHIVES, Delivery, ImageJob, Member, Plan, RegistryAccess, interned
from transship.pipeline.reference import SINGLE, PathReference
from transship.pipeline.referrers import HOLDING, refuse_place
from transship.pipeline.resolve import Platforms
from transship.pipeline.trust.carrying import KEEPING, Signing, Wish
from transship.pipeline.trust.guard import Guard


def plan_batch(batch: Batch, batch_digest: str, guard: Guard = Guard()) -> Plan:  # noqa: B008 - a value
    """Return the plan for ``batch`` under a policy; the same batch gives the same plan, in the batch's order.

    Raises:
        UsageError: a destination cannot hold what is asked for.
    """
    images: dict[str, ImageJob] = {}
    members: dict[tuple[str, str, int], list[Member]] = {}
    for position, job in enumerate(batch.jobs):
        signing = _signing(job)
        image = image_job(job, guard)
        key = image.key
        images[key] = image
        for number, destination in enumerate(job.destinations):
            transport, path, name = _place(destination)
            if job.referrers and transport in HOLDING:
                refuse_place(transport, name)
            # An archive is written once, of all its images; anything else image by image.
            shared = -1 if transport in ARCHIVES else position * 1000 + number
            member = Member(key, shape(job, transport), name, signing)
            members.setdefault((transport, path, shared), []).append(member)
    made = (Delivery(transport, path, tuple(found)) for (transport, path, _), found in members.items())
    deliveries = list(interned(made))
    return Plan(
        batch.name,
        batch_digest,
        images,
        {delivery.key: delivery for delivery in deliveries},
        {host: access(settings) for host, settings in batch.registries.items()},
        guard.name,
        batch.policy,
        batch.require_signed,
    )


def image_job(job: Job, guard: Guard = Guard()) -> ImageJob:  # noqa: B008 - a value
    """Return what is read for ``job`` under a policy, pinned where a lock says to what.

    Raises:
        UsageError: a destination holds one platform, and several are asked for.
    """
    wanted = platforms(job)
    sparse = job.sparse and not isinstance(wanted, str)
    policy = guard.of(job.source)
    signatures = bool(policy) or not job.signing.remove
    image = ImageJob(str(job.source), wanted, job.referrers, sparse, policy, signatures, base=job.base, since=job.since)
    if job.resolved is None:
        return image
    return replace(image, pinned=str(job.resolved.digest), hanging=job.resolved.hanging)


def _signing(job: Job) -> str:
    """Return what is done with an image's signatures, as `to_text` writes it."""
    words = job.signing
    if words == NOTHING:
        return ""
    from transship.pipeline.trust.signing import signers, signing_name, to_text  # noqa: PLC0415 - few batches sign

    found = signers(words.by, words.sq, words.sigstore, words.sigstore_key, words.passphrase_file)
    for destination in job.destinations if found else ():
        transport = _place(destination)[0]
        if transport not in KEEPING:
            raise UsageError(
                f"{job.source}: {destination.reference} can hold no signatures",
                advice=f"say signing: on images that go to {' and '.join(KEEPING)}: alone",
            )
        signing_name(words.identity, destination.reference)
    return to_text(Wish(Signing(found, words.identity), words.remove))


def platforms(job: Job) -> Platforms:
    """Return which of an index are read: where all destinations hold one, and none was asked for, this machine's.

    Raises:
        UsageError: a destination holds one platform, and several are asked for.
    """
    transports = {_place(destination)[0] for destination in job.destinations}
    single = bool(transports) and transports <= SINGLE
    if single and not isinstance(job.platforms, str) and len(job.platforms) == 1:
        return job.platforms[0]
    if (
        transports & SINGLE
        and job.explicit_platforms
        and (job.platforms == "all" or not isinstance(job.platforms, str))
    ):
        raise UsageError(
            f"{job.source}: {min(transports & SINGLE)} holds one platform",
            advice="say platforms: host, or linux/amd64, on this image",
        )
    return "host" if single and not job.explicit_platforms else job.platforms


def shape(job: Job, transport: str) -> Shape:
    """Return the form of ``job`` at a destination of ``transport``."""
    wish = job.wish
    layers = None if wish.layers == "keep" else Compression(wish.layers)
    made = Shape(
        wish.manifests,
        wish.config,
        layers,
        wish.level,
        wish.force,
        budget=Budget(wish.max_layer_size, wish.max_layer_ratio),
        reversible=wish.reversible,
        lossless=wish.fail_on_loss,
        foreign=wish.foreign,
        encrypt=wish.encrypt,
        encrypt_layers=wish.encrypt_layers,
        decrypt=wish.decrypt,
    )
    return bounded(made, transport)


def _place(destination: Destination) -> tuple[str, str, str]:
    """Return transport, path and name, as a `Delivery` and its `Member` have them."""
    reference = destination.reference
    if isinstance(reference, PathReference):
        return reference.transport, reference.path, reference.name
    if not isinstance(reference, DockerReference):
        # What names the image also says where it is.
        return reference.transport, str(reference).partition(":")[2], ""
    return "docker", reference.name, str(reference.digest or reference.tag)


def access(settings: RegistrySettings) -> RegistryAccess:
    """Return how a run reaches a registry, by what the batch file says of it."""
    return RegistryAccess(
        settings.tls_verify, settings.cert_dir, settings.authfile, settings.concurrency or 8, settings.patience
    )
