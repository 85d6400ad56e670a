"""What a newcomer pays: how many names there are, how long functions and files, how full folders.

    .venv/bin/python bench/code_size.py [REVISION ...]

Of the working tree, or of each revision, without tests and migrations.
"""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    for revision in sys.argv[1:] or [""]:
        with tempfile.TemporaryDirectory() as folder:
            print(f"\n{revision or 'working tree'}")
            report(checked_out(revision, Path(folder)) if revision else ROOT)


def checked_out(revision: str, folder: Path) -> Path:
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
    print(
        f"  public classes {len(classes)}, for each 1,000 lines {1000 * len(classes) / lines:.1f}"
    )
    print(
        f"  functions {len(lengths):,}, lines: median {statistics.median(lengths):.0f}, "
        f"p90 {lengths[int(len(lengths) * 0.9)]}"
    )
    folders = Counter(str(path.parent.relative_to(root)) for path in files)
    largest = ", ".join(f"{name} {count}" for name, count in folders.most_common(6))
    print(f"  files for each folder: {largest}")


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
