"""The navigation: the pages in their order, and behind them those that nobody has placed yet."""

from __future__ import annotations

import json
from pathlib import Path

TREE: dict[str, list[str]] = {
    "Start": ["index.md", "start/own_images.md"],
    "Learn": ["learn/index.md", "learn/backward.md", "learn/pooling.md", "learn/losses.md", "worked_example.md",
              "learn/whole_idea.md", "learn/history.md", "learn/exercises.md"],
    "Guides": ["guides/own_data.md", "guides/arrays.md", "training.md", "guides/own_schedule.md", "guides/runs.md", "guides/alexnet.md",
               "guides/flax_and_equinox.md", "guides/compiled_loops.md", "guides/scan.md", "guides/scaling.md",
               "guides/own_rule.md", "guides/check.md", "guides/per_example_gradients.md", "guides/forward_mode.md",
               "guides/numbers.md", "guides/any_shape.md", "guides/troubleshooting.md"],
    "Reference": ["reference/ops.md", "reference/config/index.md", "reference/config/layers.md",
                  "reference/config/initializers.md", "reference/config/losses.md", "reference/config/augmentations.md",
                  "reference/config/data.md", "reference/config/optimizers.md", "reference/commands.md",
                  "reference/proof.md", "reference/experiments.md", "reference/layers.md", "reference/training.md",
                  "reference/runs.md", "reference/weights.md", "reference/lowering.md", "reference/spatial.md"],
    "Evidence": ["equations.md", "proof.md", "performance.md", "measurements/xeon_avx512_loops.md",
                 "measurements/zen5_avx512_loops.md", "measurements/zen5_avx512_loops_jax_0_12.md", "measurements/zen5_avx2_loops.md",
                 "measurements/networks.md",
                 "measurements/xeon_avx512.md", "measurements/zen3_avx2.md", "measurements/tpu.md", "results.md", "reliability.md"],
}  # fmt: skip
LAST = ("changelog.md", "contributing.md")  # of Evidence, behind pages that nobody has placed
REST = {"guides": "Guides", "learn": "Learn", "start": "Start", "reference": "Reference"}


def tree(docs: Path) -> dict[str, list[str]]:
    """Every page of ``docs`` in its section; a listed page that is not there is left out."""
    there = {p.relative_to(docs).as_posix() for p in docs.rglob("*.md")}
    there = {name for name in there if not name.startswith("source/")}
    found = {section: [page for page in pages if page in there] for section, pages in TREE.items()}
    placed = {page for pages in TREE.values() for page in pages}
    for page in sorted(there - placed - set(LAST)):
        found[REST.get(page.partition("/")[0], "Evidence")].append(page)
    found["Evidence"] += [page for page in LAST if page in there]
    return found


def title(page: Path) -> str:
    """A page's first heading."""
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            return line[2:].strip().replace("`", "")
    return page.stem.replace("_", " ").capitalize()


def toml(docs: Path) -> str:
    """The navigation as a value of TOML."""
    sections = []
    for section, pages in tree(docs).items():
        entries = ", ".join(f"{{{json.dumps(title(docs / p))} = {json.dumps(p)}}}" for p in pages)
        sections.append(f"{{{json.dumps(section)} = [{entries}]}}")
    return "[" + ", ".join(sections) + "]"
