"""What a run does first: find what became of its store, and forget what was done with what is lost."""

from collections.abc import Callable, Iterator

from transship.pipeline.doubts import Doubts
from transship.pipeline.durable import sweep_folder
from transship.pipeline.errors import Error
from transship.pipeline.report import CHECKPOINTS
from transship.pipeline.store import Store
from transship.pipeline.tree import Selection, blobs, manifests
from transship.tasks.image import ConvertMediaTypes, FetchBlobs, FetchManifest, ResolvePlatform
from transship.tasks.workspace import Workspace, descriptor


def heal(workspace: Workspace, pending: Callable[[], list[str]]) -> None:
    """Hash what is doubted of the images that ``pending`` deliveries are to be made of, and all that has changed.

    What was fetched or made of blobs that are not sound is forgotten, so that this run fetches and writes it anew.
    Where the last run ended cleanly and nobody touched its store, nothing is read.
    """
    sweep_folder(workspace.root)
    store = workspace.store
    store.doubts = Doubts.of(workspace.root)
    if not store.doubts and not store.doubts.astray:
        return
    for folder in (workspace.root / "blobs").iterdir():
        sweep_folder(folder)
    if not store.doubts and not (workspace.root / CHECKPOINTS).is_dir():
        return
    # Each is read, also after one was found damaged.
    found = [store.doubts.dispelled(digest, str(store.path(digest))) for digest in store.doubts.changed()]
    deliveries = workspace.plan.deliveries
    suspect = dict.fromkeys(member.image for key in pending() for member in deliveries[key].members)
    for image in suspect if all(found) else workspace.plan.images:
        lost = list(_lost(workspace, image))
        if lost:
            pinned = "" if FetchManifest.__name__ in lost else FetchManifest.__name__
            workspace.forget(image, keep=pinned)
            for key, delivery in deliveries.items():
                if any(member.image == image for member in delivery.members):
                    workspace.forget(key)


def _lost(workspace: Workspace, image: str) -> Iterator[str]:
    """Yield the tasks of ``image`` that are done and whose blobs are not sound, the last first."""
    store, run_dir = workspace.store, str(workspace.root)
    prefix = f"{ConvertMediaTypes.__name__}-"
    for path in sorted((workspace.root / CHECKPOINTS / image).glob(f"{prefix}*.json")):
        converted = ConvertMediaTypes(run_dir=run_dir, image=image, shape=path.stem.removeprefix(prefix))
        if converted.complete() and not _whole(store, converted.made):
            yield path.stem
    resolved = ResolvePlatform(run_dir=run_dir, image=image)
    if resolved.complete() and not _whole(store, resolved.selection):
        yield FetchBlobs.__name__
        yield ResolvePlatform.__name__
    root = workspace.checkpoint(image, FetchManifest.__name__).read()
    if root is not None and not store.has(descriptor(root["root"])):
        yield FetchManifest.__name__


def _whole(store: Store, chosen: Callable[[], Selection]) -> bool:
    try:
        selection = chosen()
        named = all(store.has(found) for found, _ in manifests(store, selection))
        return named and all(store.has(blob) for blob in blobs(store, selection))
    except Error:
        return False
