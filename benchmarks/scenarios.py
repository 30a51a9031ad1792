"""The rows of the table: what transship does, and what each peer does for the same result."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

from benchmarks.bundles import bundles
from benchmarks.scenario import COPY, SKOPEO, TRANSSHIP, Place, Scenario, Side, real_names, write_batch
from benchmarks.sizes import Corpus, Sizes


def scenarios(sizes: Sizes) -> Iterator[Scenario]:
    """Yield every scenario in the order of the table."""
    yield _tiny(sizes.tiny)
    for count in sizes.scale:
        yield _scale(count)
    yield _again(sizes.again)
    yield _real(sizes.real)
    yield from _archives()
    yield from bundles(sizes.real)
    yield _there_and_back()
    yield _large()
    yield from _single_commands()
    yield from _recompressions()


def _run(place: Place, images: list[str], to: str, manifests: str = "oci") -> str:
    batch = write_batch(place.folder, place.registry, images, manifests=manifests, to=[to])
    return f"{TRANSSHIP} run {batch} --progress none"


def _tiny_names(count: int) -> list[str]:
    return [f"tiny/i{n}:v1" for n in range(count)]


def _run_tiny(count: int) -> Side:
    return Side(
        "transship run", lambda place: _run(place, _tiny_names(count), "oci:out:{repository}:{tag}"), command="run"
    )


def _tiny(count: int) -> Scenario:
    def skopeo(place: Place) -> str:
        return "\n".join(f"{COPY} docker://{place.registry}/{name} oci:out:{name}" for name in _tiny_names(count))

    def crane(place: Place) -> str:
        names = " ".join(f"{place.registry}/{name}" for name in _tiny_names(count))
        return f"crane pull --insecure --format=oci {names} out"

    return Scenario(
        "tiny",
        f"{count:,} tiny images out of a registry into one OCI layout",
        (_run_tiny(count), Side("skopeo copy, a loop", skopeo, "skopeo"), Side("crane pull", crane, "crane")),
        frozenset({"tiny"}),
        images=count,
        note="transship converts Docker's manifests to OCI's (so does skopeo; crane keeps them) and reads every byte "
        "back from the layout before it ends; the peers do not.",
    )


def _scale(count: int) -> Scenario:
    return Scenario(
        f"scale-{count}",
        f"{count:,} tiny images, transship alone",
        (_run_tiny(count),),
        frozenset({"tiny"}),
        images=count,
        counted=False,
        max_rounds=3,
    )


def _again(count: int) -> Scenario:
    return Scenario(
        "again",
        f"A finished run of {count:,} tiny images, run again",
        (_run_tiny(count),),
        frozenset({"tiny"}),
        images=count,
        again=True,
        note="The registry's log is on in every round: the requests are those of a timed one.",
    )


def _real(count: int) -> Scenario:
    def transship(place: Place) -> str:
        return _run(place, real_names(count), "dir:out/{name}-{tag}", "keep")

    def skopeo(place: Place) -> str:
        wanted = {place.registry: {"tls-verify": False, "images": {f"real/app{n}": ["v1"] for n in range(count)}}}
        (place.folder / "sync.yaml").write_text(json.dumps(wanted))
        return f"mkdir out\n{SKOPEO} sync --scoped --src yaml --dest dir sync.yaml out"

    return Scenario(
        "real",
        f"{count} realistic images over {min(4, count)} shared bases, out of a registry into a dir: each",
        (Side("transship run", transship, command="run"), Side("skopeo sync", skopeo, "skopeo")),
        frozenset({"real"}),
        images=count,
        note="transship reads each blob once, so what it reads are the unique bytes. On disk are its store and all "
        "dir: folders; it links a shared layer into each.",
    )


def _copy(source: str, destination: str, options: str = "") -> Side:
    def script(place: Place) -> str:
        there = source.format(registry=place.registry, local=place.local)
        return f"{TRANSSHIP} copy -q --src-tls-verify=false {options} {there} {destination}"

    return Side("transship copy", script, command="copy")


def _skopeo_copy(source: str, destination: str, options: str = "") -> Side:
    def script(place: Place) -> str:
        there = source.format(registry=place.registry, local=place.local)
        return f"{COPY} {options} {there} {destination}"

    return Side("skopeo copy", script, "skopeo")


def _pair(name: str, title: str, corpus: Corpus, where: tuple[str, str], options: str = "") -> Scenario:
    sides = (_copy(*where, options), _skopeo_copy(*where, options))
    return Scenario(name, title, sides, frozenset({corpus}))


def _archives() -> Iterator[Scenario]:
    archive = "docker-archive:{local}/archive.tar"
    # skopeo packs what goes into a layout unasked; transship where it is told to.
    packed = _pair(
        "archive-in", "A docker-archive into an OCI layout, layers packed by gzip", "local", (archive, "oci:out:v1")
    )
    sides = (_copy(archive, "oci:out:v1", "--format oci --dest-compress-format gzip"), packed.sides[1])
    yield replace(packed, sides=sides)
    yield _pair(
        "archive-out",
        "One realistic image out of a registry into a docker-archive",
        "real",
        ("docker://{registry}/real/app0:v1", "docker-archive:out.tar:example/app:v1"),
    )


def _there_and_back() -> Scenario:
    there, back = ("oci:{local}/gzip:v1", "dir:there"), ("dir:there", "oci:back:v1")

    def both(one: Side, other: Side) -> Side:
        return replace(one, script=lambda place: f"{one.script(place)}\n{other.script(place)}")

    return Scenario(
        "there-and-back",
        "A layout's image into a dir: and from there into a new layout, one file system",
        (both(_copy(*there), _copy(*back)), both(_skopeo_copy(*there), _skopeo_copy(*back))),
        frozenset({"local"}),
        images=2,
        note="Two commands; what is on disk is the dir: and the new layout.",
    )


def _large() -> Scenario:
    source = "docker://{registry}/large/blob:v1"

    def curl(place: Place) -> str:
        # The layer's digest stands in the manifest; asking for it is part of the work, as it is for a client.
        accept = "Accept: application/vnd.docker.distribution.manifest.v2+json"
        base = f"http://{place.registry}/v2/large/blob"
        return (
            f"digest=$(curl -sSf -H '{accept}' {base}/manifests/v1 | grep -o 'sha256:[0-9a-f]*' | tail -1)\n"
            f'curl -sSf -o blob "{base}/blobs/$digest"\n'
            'echo "${digest#sha256:}  blob" | sha256sum -c -\nsync blob'
        )

    return Scenario(
        "large",
        "One image of one large blob out of a registry into an OCI layout",
        (
            _copy(source, "oci:out:v1", "--format oci"),
            _skopeo_copy(source, "oci:out:v1"),
            Side("curl, sha256sum, sync", curl, "curl"),
        ),
        frozenset({"large"}),
        note="curl's row downloads, hashes and flushes one after the other, and makes no image of it. "
        "transship hashes while it reads, flushes, and reads the blob back.",
    )


def _single_commands() -> Iterator[Scenario]:
    source = "docker://{registry}/tiny/i0:v1"
    yield _pair("one-copy", "One tiny image out of a registry into an OCI layout", "tiny", (source, "oci:out:v1"))

    def inspect(start: str) -> Callable[[Place], str]:
        return lambda place: f"{start} docker://{place.registry}/tiny/i0:v1"

    sides = (
        Side("transship inspect", inspect(f"{TRANSSHIP} inspect --tls-verify=false"), command="inspect"),
        Side("skopeo inspect", inspect(f"{SKOPEO} inspect --no-tags --tls-verify=false"), "skopeo"),
    )
    yield Scenario("one-inspect", "Show what one image is", sides, frozenset({"tiny"}))


def _recompressions() -> Iterator[Scenario]:
    for have in ("gzip", "zstd", "uncompressed"):
        for want in ("gzip", "zstd", "zstd:chunked", "uncompressed"):
            if have == want:
                continue
            # skopeo unpacks only into a dir:.
            plain = want == "uncompressed"
            option = "--dest-decompress" if plain else f"--dest-compress-format {want}"
            yield _pair(
                f"{have}-to-{want.replace(':', '-')}",
                f"A layout's image repacked: {have} to {want}",
                "local",
                (f"oci:{{local}}/{have}:v1", "dir:out" if plain else "oci:out:v1"),
                option,
            )
