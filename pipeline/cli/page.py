"""What a page of the manual is, and the exit codes that pages share."""

from typing import Final, NamedTuple


class Page(NamedTuple):
    """Paragraphs, exit codes with what they mean, and examples with what they do."""

    description: tuple[str, ...]
    codes: tuple[tuple[int, str], ...]
    examples: tuple[tuple[str, str], ...] = ()


STOPPED: Final = (
    (130, "interrupted; what is done is kept"),
    (143, "told to end by SIGTERM; what is done is kept"),
)
AS_SKOPEO: Final = (
    (0, "done"),
    (1, "failed, or the options are wrong"),
    (2, "the image was not found"),
    *STOPPED,
)
PLAIN: Final = ((0, "done"), (1, "failed, or the options are wrong"), *STOPPED)
OWN: Final = ((0, "done"), (1, "failed"), (2, "the options are wrong, or there is no such run"), *STOPPED)
BULK: Final = (
    (0, "all images verified"),
    (1, "some failed; each is named with the reason and whether a retry can help"),
    (2, "the batch file or the options are wrong; nothing was started"),
    (130, "interrupted; the same command goes on"),
    (143, "told to end by SIGTERM; the same command goes on"),
)
