"""``transship report``: what happened to every image."""

import argparse
import html
import json
from pathlib import Path

from transship.pipeline.cli.folder import open_run
from transship.pipeline.cli.progress import size
from transship.pipeline.cli.rewriting import rewrite_files
from transship.pipeline.durable import write_durably
from transship.pipeline.errors import LONGEST_LINE, UsageError, shown
from transship.pipeline.report import Line, fold, report


def perform(options: argparse.Namespace) -> int:
    """Print the report, return 1 where an image is not verified, else 0; or rewrite files by it."""
    root, plan = open_run(options.run)
    lines = list(fold(root, plan))
    if options.rewrite:
        return rewrite_files(options.rewrite, lines, options.to, write=options.in_place)
    if options.in_place or options.to:
        raise UsageError("report: --in-place and --to go with --rewrite", advice="name the files after --rewrite")
    if options.html:
        write_durably(Path(options.html), _page(plan.name, lines).encode())
    elif options.json:
        print(json.dumps(report(root, plan), indent=2))
    else:
        _print(lines, plan.policy)
    return 0 if all(line.state == "verified" for line in lines) else 1


def _print(lines: list[Line], policy: str) -> None:
    for line in lines:
        print(f"{line.state}: {line.source} -> {line.destination}")
        if line.new:
            print(f"  {line.old} -> {line.new}" if line.new != line.old else f"  {line.old} (unchanged)")
        print(f"  {size(line.bytes)} read, {line.seconds:.2f} s, {len(line.changes)} digests or media types changed")
        for who in line.accepted:
            print(f"  accepted: {shown(who, LONGEST_LINE)}")
        for who in line.signed:
            print(f"  signed: {shown(who, LONGEST_LINE)}")
        for loss in line.losses:
            print(f"  lost: {shown(loss, LONGEST_LINE)}")
        for one in line.crypted:
            whose = "with" if one.kind == "decrypt" else "for"
            print(f"  {one.kind}ed: {one.layer} {whose} {shown(', '.join(one.keys), LONGEST_LINE)}")
        for referrer in line.hanging.referrers if line.hanging else ():
            print(f"  with: {shown(str(referrer), LONGEST_LINE)}")
        for left in line.hanging.left if line.hanging else ():
            print(f"  left behind: {shown(str(left), LONGEST_LINE)}")
        if line.error:
            again = " (may pass: run again)" if line.retriable else ""
            print(f"  error in {line.task}: {shown(line.error, LONGEST_LINE)}{again}")
    verified = sum(line.state == "verified" for line in lines)
    print(f"{verified} of {len(lines)} images verified; policy: {shown(policy)}")


def _page(name: str, lines: list[Line]) -> str:
    rows = "".join(
        f"<tr class={line.state}><td>{line.state}<td>{_escape(line.source)}<td>{_escape(line.destination)}"
        f"<td><code>{line.old[:19]}</code><td><code>{line.new[:19]}</code><td>{size(line.bytes)}"
        f"<td>{_escape('; '.join([*line.losses, *_left(line)]))}<td>{_escape(line.error)}</tr>\n"
        for line in lines
    )
    verified = sum(line.state == "verified" for line in lines)
    return (
        f"<!doctype html><meta charset=utf-8><title>{_escape(name)}</title>"
        "<style>body{font:14px sans-serif;margin:2em}table{border-collapse:collapse}"
        "td,th{padding:.3em .6em;border-bottom:1px solid #ccc;text-align:left}.failed{background:#fdd}</style>"
        f"<h1>{_escape(name)}</h1><p>{verified} of {len(lines)} images verified</p>"
        "<table><tr><th>state<th>source<th>destination<th>old<th>new<th>read<th>lost<th>error</tr>\n"
        f"{rows}</table>\n"
    )


def _left(line: Line) -> list[str]:
    return [f"left behind: {left}" for left in line.hanging.left] if line.hanging else []


def _escape(text: str) -> str:
    return html.escape(text)
