"""The cases of docs/reliability.md: what is done, and what skopeo and crane came to where somebody measured it.

Those figures were taken once, with skopeo 1.22.0-dev (b71619af) and crane v0.21.10-0 (3f4ff3ca), on loopback.
"""

from typing import Final, NamedTuple


class Case(NamedTuple):
    """One case; the number of MB is that of one blob of 200 MB, or of 20 images with 248 MB of unique blobs."""

    fault: str
    skopeo: str = ""
    crane: str = ""


CASES: Final[dict[int, Case]] = {
    1: Case("reset at half of a blob, once", "200 MB", "pull fails, copy 300 MB"),
    2: Case("closed at half of a blob", "200 MB"),
    3: Case("reset every fifth of a blob", "200 MB, 7 GETs", "fails"),
    4: Case("reset every 512 KiB", "fails at 1 MB"),
    5: Case("reset, and the server ignores Range", "fails"),
    6: Case("206 with a wrong offset or total, or other bytes"),
    7: Case("short body, with a length to match or none", "detected", "detected"),
    8: Case("one bit flipped, once", "fails at once", "fails at once"),
    9: Case("500, 502, 503, 504, 429", "fails at once on 503, on 500 even with retries", "3 tries"),
    10: Case("429 with Retry-After", "waits; 3600 s is cut to 60 s", "ignored"),
    11: Case("no answer, a stall, a crawl", "hangs for 40 s and more", "hangs for 40 s and more"),
    12: Case("a port that takes connections and says nothing", "10 s more for each image"),
    13: Case("upload reset at half", "300 MB", "300 MB"),
    14: Case("the reply to a PUT is lost", "settled, with retries", "settled"),
    15: Case("upload forgotten, or registry started again", "leaves a stale upload", "leaves a stale upload"),
    16: Case("100 blobs, 5 % faults"),
    17: Case("kill -9 before each step that changes the disk, then the same command"),
    18: Case("kill -9 at half of 20 images", "1.03 times the bytes to oci:, dir: never ends", "1.08 times to oci:"),
    19: Case("kill -9 again and again"),
    20: Case("run again what is done", "60 requests", "120 requests, 9.9 MB"),
    21: Case("SIGTERM, SIGINT", "leaves 100 MB"),
    22: Case("power cut right after exit 0 (ext4)", "no index.json", "nothing; 8 s later 5 of 5 blobs empty"),
    23: Case("order of fsync and rename", "no fsync of index.json", "no fsync at all"),
    24: Case("two runs of one folder; a lock left by a dead process"),
    25: Case("clock a day back, ten years ahead; tokens and certificates of other times"),
    26: Case("leftovers are cleaned between runs"),
    27: Case("disk full, each destination", "archives leave 60 MB", "archives leave 60 MB"),
    28: Case("disk full at the index or a checkpoint"),
    29: Case("the k-th write, fsync, rename, open fails"),
    30: Case("read-only or removed folder, quota used up, no inodes, name too long"),
    31: Case("damaged blob, index or checkpoint", "kept, 3 of 3", "1 of 3 kept"),
    32: Case("fsync fails once and then succeeds"),
    33: Case("hostile registry", "2.3 GB of memory", "2.6 GB of memory"),
    34: Case("hostile archive"),
    35: Case("20,000 layers in one manifest", "0.7 s, 89 MB", "8.8 GB, killed at 25 s"),
    36: Case("gzip, zstd, xz bomb", "4096 MB, no limit"),
    37: Case("fuzzed documents and headers"),
    38: Case("20 writers of one layout", "1 or 2 of 20 listed, silently", "10 to 13 of 20, 5 to 8 errors"),
    39: Case("readers and deletes during writes"),
    40: Case("one base layer of 20 images", "400 MB in a job an image"),
    41: Case("tokens that end before they say", "exit 1", "exit 0, 3 tokens"),
    42: Case("password withdrawn, one repository denied"),
    43: Case("credential helper that is slow, fails, talks garbage"),
    44: Case("umask 000, ten logins at once", "0600", "0600"),
    45: Case("a secret in logs, arguments, files"),
    46: Case("redirect, Location, realm, Link to another origin", "3 kinds leak", "0 leaks"),
}
