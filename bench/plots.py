"""Tables of docs/performance.md and plots in docs/images from the results of `bench/growth.py`.

    .venv/bin/python -m bench.plots [FILE]      # make growth-page

replaces what is between the marks `<!-- growth: NAME -->` and `<!-- end -->` of the page. The plots
are drawn by the Python of .venv/bench, which has the packages of bench/requirements.txt.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE, IMAGES = ROOT / "docs" / "performance.md", ROOT / "docs" / "images"
RESULTS = ROOT / "bench" / "growth.json"

# What grows in each command's results.
GROWS = {
    "length": "messages in the conversation",
    "owner": "conversations of the owner",
    "total": "messages of everybody",
}
# The most that something may cost at the largest size, of what it costs at the smallest, where
# docs/performance.md says that it does not grow.
LIMIT = 1.2
COLORS = ("#1b6ca8", "#c2571a", "#2e7d32", "#8e3b8e", "#a02c2c", "#5d6b1f", "#4a4a4a")
PANELS: dict[str, dict[str, str | tuple[str, ...]]] = {
    "length": {"Appends": "append", "Pages": ("first", "middle", "last")},
    "owner": {"New conversations": ("create", "get"), "Lists": ("list", "middle")},
    "total": {
        "Requests of owners": "owner",
        "Searches of staff over the API": "staff",
        "Lists of the admin": "list",
        "Transcripts and the dashboard": ("transcript", "dashboard"),
    },
}

Result = dict[str, Any]


def main() -> None:
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    results = json.loads(source.read_text())
    if importlib.util.find_spec("matplotlib"):
        for name, result in results.items():
            draw(name, result, IMAGES / f"growth-{name}.svg")
        return
    PAGE.write_text(filled_in(PAGE.read_text(), results))
    from bench import services

    services.install_baseline()
    subprocess.run([services.BASELINE_PYTHON, __file__, source], check=True)


def filled_in(page: str, results: dict[str, Result]) -> str:
    """The page with the tables of these results; others stay as they are."""
    for name, result in results.items():
        before, mark, rest = page.partition(f"<!-- growth: {name} -->")
        _, end, after = rest.partition("<!-- end -->")
        if not end:
            raise SystemExit(f"The page has no place for the results of {name!r}")
        text = "\n\n".join([mark, made_by(result), *tables_of(name, result), end])
        page = before + text + after
    return page


def made_by(result: Result) -> str:
    made = result["made"]
    before, after = made["load"]
    return (
        f"`{made['command']}`, {made['on']}, {made['seconds'] / 60:.0f} min on {made['cores']} "
        f"cores, load average {before} before and {after} after."
    )


def tables_of(name: str, result: Result) -> list[str]:
    """The results of a command as tables in Markdown."""
    if name == "memory":
        return [_table_of_requests(result), _table_of_streams(result)]
    tables = [_table_of_costs(name, result)]
    if "bytes" in result:
        sizes = [f"{size / 1e9:.2g}" for size in result["bytes"].values()]
        tables.append(f"The databases have {', '.join(sizes)} GB.")
    return tables


def _table_of_costs(name: str, result: Result) -> str:
    """Processor time at each size, then the ratios of the largest size to the smallest one."""
    sizes = result["sizes"]
    head = [f"CPU ms at … {GROWS[name]}", *(f"{size:,}" for size in sizes), "CPU", "time"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for operation, rows in _by_operation(result).items():
        largest = rows[max(rows)]
        ratios = [_ratio(largest[f"{kind}_ratio"]) for kind in ("cpu", "wall")]
        costs = [f"{rows[size]['cpu_ms']:.2f}" if size in rows else "" for size in sizes]
        lines.append([operation, *costs, *ratios])
    return _markdown(lines)


def _table_of_requests(result: Result) -> str:
    samples = result["requests"]
    chosen = [samples[round(part * (len(samples) - 1) / 4)] for part in range(5)]
    return _table_of_samples("requests", chosen)


def _table_of_streams(result: Result) -> str:
    lines = [["open streams", "RSS MB", "PSS MB", "RSS KB each"], ["---", "---:", "---:", "---:"]]
    labels = {
        "followers": "of one answer",
        "answers": "of as many answers",
        "again": "of as many answers, once more",
    }
    for name, label in ((name, label) for name, label in labels.items() if name in result):
        before = result[name][0]
        for one in result[name]:
            grown = one["rss_kb"] - before["rss_kb"]
            each = f"{grown / one['count']:.0f}" if one["count"] else ""
            lines.append([f"{one['count']:,} {label}", *_megabytes(one), each])
    lines.append(["0, after all have ended", *_megabytes(result["closed"][0]), ""])
    return _markdown(lines)


def _table_of_samples(what: str, samples: list[Result]) -> str:
    lines = [[what, "RSS MB", "PSS MB"], ["---", "---:", "---:"]]
    lines += [[f"{one['count']:,}", *_megabytes(one)] for one in samples]
    return _markdown(lines)


def _megabytes(sample: Result) -> list[str]:
    return [f"{sample[kind] / 1024:.1f}" for kind in ("rss_kb", "pss_kb")]


def _markdown(lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}x"


def _by_operation(result: Result) -> dict[str, dict[int, Result]]:
    found: dict[str, dict[int, Result]] = {}
    for row in result["rows"]:
        found.setdefault(row["operation"], {})[row["size"]] = row
    return found


def draw(name: str, result: Result, path: Path) -> None:
    """The plot of a command's results, on a light background."""
    from matplotlib import pyplot

    pyplot.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 10, "axes.grid": True}
        | {"grid.color": "#dddddd", "axes.spines.top": False, "axes.spines.right": False}
    )
    draw_panels = _draw_memory if name == "memory" else _draw_costs
    figure = draw_panels(pyplot, name, result)
    figure.tight_layout()
    figure.savefig(path, facecolor="white", metadata={"Date": None})
    pyplot.close(figure)


def _draw_costs(pyplot: Any, name: str, result: Result) -> Any:
    """Processor time by size, a panel for what is alike: what does not grow is a level line."""
    panels = PANELS[name]
    size = (9, 3.6 * len(panels))
    figure, axes = pyplot.subplots(len(panels), 1, figsize=size, squeeze=False, sharex=True)
    for axis, (title, begins) in zip(axes[:, 0], panels.items(), strict=True):
        found = _by_operation(result).items()
        shown = [(operation, rows) for operation, rows in found if operation.startswith(begins)]
        for place, (operation, rows) in enumerate(shown):
            costs = [rows[size]["cpu_ms"] for size in sorted(rows)]
            marker = "osD^v"[place // len(COLORS)]
            style = {"color": COLORS[place % len(COLORS)], "marker": marker, "markersize": 5}
            axis.plot(sorted(rows), costs, label=operation, **style)
        axis.set_title(title, loc="left", fontsize=11)
        axis.set_xscale("log")
        axis.set_xticks(result["sizes"], [f"{size:,}" for size in result["sizes"]])
        axis.minorticks_off()
        axis.set_ylim(bottom=0)
        axis.set_ylabel("CPU ms of a request")
        axis.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    axes[-1, 0].set_xlabel(GROWS[name])
    return figure


def _draw_memory(pyplot: Any, name: str, result: Result) -> Any:
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 4), sharey=True)
    for kind, color in (("rss", COLORS[0]), ("pss", COLORS[1])):
        label = kind.upper()
        _draw_samples(axes[0], result["requests"], kind, label=label, color=color)
        for style, streams in (("-", "answers"), ("--", "followers")):
            of = f"{label}, {streams}"
            _draw_samples(axes[1], result[streams], kind, label=of, color=color, linestyle=style)
    for axis, title in zip(axes, ("Over requests", "With open streams"), strict=True):
        axis.set_title(title, loc="left", fontsize=11)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axis.set_xlabel(title.split()[-1])
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=9, frameon=False)
    axes[0].set_ylabel("MB of a web process")
    return figure


def _draw_samples(axis: Any, samples: list[Result], kind: str, **style: Any) -> None:
    megabytes = [one[f"{kind}_kb"] / 1024 for one in samples]
    axis.plot([one["count"] for one in samples], megabytes, **style)


if __name__ == "__main__":
    main()
