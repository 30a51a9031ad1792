#!/bin/bash
# The demo: sample images, a registry on loopback, one batch that converts them all, and the proof.
# Needs only Python with transship installed (make demo sees to that). Writes below demo/out alone.
set -euo pipefail
cd "$(dirname "$0")"

say() { printf '\n== %s\n' "$*"; }

rm -rf out
mkdir out

say "making six sample images (Docker formats) from Python's own library"
python3 make_images.py out/samples

say "serving them as a registry on loopback"
transship serve out/samples --port 0 --access-log out/access.jsonl >out/serve.log &
registry=$!
trap 'kill "$registry" 2>/dev/null || true' EXIT
for _ in $(seq 100); do
    grep -q http out/serve.log && break
    kill -0 "$registry" || { echo "the registry did not start" >&2; exit 1; }
    sleep 0.1
done
cat out/serve.log
port=$(sed -n 's/.*:\([0-9][0-9]*\) .*/\1/p' out/serve.log)

say "transship run: fetch, convert to OCI, write, verify"
sed "s/PORT/$port/" batch.yaml >out/batch.yaml
transship run out/batch.yaml --runs out/runs --progress lines

say "the same command again: everything is done, nothing is fetched"
before=$(wc -l <out/access.jsonl)
transship run out/batch.yaml --runs out/runs --progress lines
echo "requests to the registry: $(($(wc -l <out/access.jsonl) - before))"

say "transship verify: every byte at the destinations, read and hashed again"
transship verify out/runs/demo

say "transship report: what happened"
transship report out/runs/demo

say "where to look"
cat <<WHERE
demo/out/mirror        all images as one OCI layout (serve it: transship serve demo/out/mirror)
demo/out/web-v2.tar    for docker load
demo/out/tool-v1/      a dir: with all three platforms
demo/out/runs/demo     the run folder: checkpoints, blobs, report.json
demo/out/access.jsonl  every request the registry got
WHERE
