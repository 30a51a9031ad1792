"""The rows of bundles: made, verified, served."""

import json
from collections.abc import Iterator

from benchmarks.bundle_files import LAYOUT, NAME
from benchmarks.scenario import COPY, SKOPEO, TRANSSHIP, Place, Scenario, Side, real_names, write_batch
from support.registry_server import free_port


def bundles(count: int) -> Iterator[Scenario]:
    """Yield the scenarios over ``count`` realistic images."""
    yield _create(count)
    yield _verify(count)
    yield _serve(count)


def _create(count: int) -> Scenario:
    def create(place: Place) -> str:
        batch = write_batch(place.folder, place.registry, real_names(count))
        return f"{TRANSSHIP} bundle create {batch} -o out.tar --progress none"

    def run(place: Place) -> str:
        to = ["oci-archive:out.tar:{repository}:{tag}"]
        batch = write_batch(place.folder, place.registry, real_names(count), manifests="oci", to=to)
        return f"{TRANSSHIP} run {batch} --progress none"

    def skopeo(place: Place) -> str:
        return "\n".join(
            f"{COPY} docker://{place.registry}/{name} oci-archive:{n}.tar:{name}"
            for n, name in enumerate(real_names(count))
        )

    def crane(place: Place) -> str:
        names = " ".join(f"{place.registry}/{name}" for name in real_names(count))
        return f"crane pull --insecure {names} out.tar"

    return Scenario(
        "bundle-create",
        f"A bundle of {count} realistic images out of a registry",
        (
            Side("transship bundle create", create, command="bundle create"),
            Side("transship run, an oci-archive", run, command="run"),
            Side("skopeo copy, a loop", skopeo, "skopeo"),
            Side("crane pull, a tarball", crane, "crane"),
        ),
        frozenset({"real"}),
        images=count,
        note="transship keeps its store, so on disk are all blobs twice; it hashes the file while it writes it, "
        "flushes it, and reads it back, each blob and the whole, before it ends. skopeo makes an archive an image, "
        "crane one of Docker's with all of them; neither flushes it or reads it back.",
    )


def _verify(count: int) -> Scenario:
    def skopeo(place: Place) -> str:
        layout = place.bundle / LAYOUT
        entries = json.loads((layout / "index.json").read_text())["manifests"]
        names = [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in entries]
        return "\n".join(f"{COPY} oci:{layout}:{name} dir:{n}" for n, name in enumerate(names))

    return Scenario(
        "bundle-verify",
        f"A bundle of {count} realistic images verified",
        (
            Side("transship bundle verify", lambda place: f"{TRANSSHIP} bundle verify {place.bundle / NAME}"),
            Side("sha256sum -c", lambda place: f"cd {place.bundle}\nsha256sum -c {NAME}.sums", "sha256sum"),
            Side("skopeo copy to dir:, a loop", skopeo, "skopeo"),
        ),
        frozenset({"real", "bundle"}),
        images=count,
        note="transship hashes each byte twice: as part of its file, and of its blob. sha256sum does the first alone, "
        "and knows of no image; that of coreutils 9.1 uses no instructions of the processor for it. skopeo has no "
        "command for it: what checks each blob is a copy of each image, here out of the bundle's layout, unpacked "
        "before.",
    )


def _serve(count: int) -> Scenario:
    def pulled(start: str, port: int) -> str:
        first, *_ = names = real_names(count)
        server = f"127.0.0.1:{port}"
        ready = f"{SKOPEO} inspect --raw --tls-verify=false docker://{server}/{first} >manifest 2>&1"
        copies = "\n".join(f"{COPY} docker://{server}/{name} dir:{n}" for n, name in enumerate(names))
        return f"{start} &\nuntil {ready}; do sleep 0.02; done\n{copies}\nkill $!\nwait $! || true"

    def transship(place: Place) -> str:
        port = free_port()
        return pulled(f"{TRANSSHIP} serve {place.bundle / NAME} --port {port}", port)

    def registry(place: Place) -> str:
        port = free_port()
        config = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(place.data)}},
            "http": {"addr": f"127.0.0.1:{port}"},
        }
        (place.folder / "config.yml").write_text(json.dumps(config))
        return pulled("docker-registry serve config.yml", port)

    return Scenario(
        "bundle-serve",
        f"{count} realistic images pulled by skopeo, each into a dir:, from who serves them",
        (
            Side("transship serve, the bundle", transship, command="serve"),
            Side("docker-registry", registry, "docker-registry"),
        ),
        frozenset({"real", "bundle"}),
        images=count,
        note="Each side starts its server, waits for it, and ends it: CPU and memory are of server and skopeo.",
    )
