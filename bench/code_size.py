"""What a newcomer reads: classes, the length of functions and files, and the path of a request.

    .venv/bin/python bench/code_size.py [--list] [REVISION ...]

Of the working tree, or of each revision, without tests and migrations. The paths are traced
(`trace_requests.py`) on an embedded PostgreSQL in a temporary folder; `--list` names their
functions.
"""

from __future__ import annotations

import ast
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    revisions = [argument for argument in sys.argv[1:] if argument != "--list"]
    for revision in revisions or [""]:
        with tempfile.TemporaryDirectory() as folder:
            print(f"\n{revision or 'working tree'}", flush=True)
            root = checked_out(revision, Path(folder) / "code") if revision else ROOT
            report(root)
            trace_requests(root, Path(folder) / "data")


def checked_out(revision: str, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", revision], check=True, capture_output=True
    )
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def report(root: Path) -> None:
    files = sources(root)
    trees = {path: ast.parse(path.read_text()) for path in files}
    lines = sum(len(path.read_text().splitlines()) for path in files)
    classes = [
        node
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    lengths = sorted(
        (node.end_lineno or node.lineno) - node.lineno + 1
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    sizes = sorted((len(path.read_text().splitlines()) for path in files), reverse=True)
    print(
        f"  lines {lines:,}, files {len(files)}, longest {sizes[0]}, over 350: {over(sizes, 350)}"
    )
    print(f"  public classes {len(classes)}, per 1,000 lines {1000 * len(classes) / lines:.1f}")
    print(
        f"  functions {len(lengths):,}, lines: median {statistics.median(lengths):.0f}, "
        f"p90 {lengths[int(len(lengths) * 0.9)]}"
    )
    folders = Counter(str(path.parent.relative_to(root)) for path in files)
    largest = ", ".join(f"{name} {count}" for name, count in folders.most_common(6))
    print(f"  files for each folder: {largest}", flush=True)


def trace_requests(root: Path, data: Path) -> None:
    environment = os.environ | {
        "CHATPROJECT_DATA": str(data),
        "CHATPROJECT_DURABLE": "false",
        "DATABASE_URL": "",
        # What an older revision needs beside may stand in PYTHONPATH.
        "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]),
    }
    script = [sys.executable, str(ROOT / "bench" / "trace_requests.py"), str(root)]
    options = ["--list"] if "--list" in sys.argv else []
    subprocess.run([*script, *options], check=True, cwd=root, env=environment)


def sources(root: Path) -> list[Path]:
    """Python files of the application and the project, without tests and migrations."""
    return [
        path
        for package in ("conversations", "chatproject")
        for path in sorted((root / package).rglob("*.py"))
        if not {"tests", "migrations"} & set(path.parts)
    ]


def over(sizes: list[int], limit: int) -> int:
    return sum(size > limit for size in sizes)


if __name__ == "__main__":
    main()
