"""Run the tables of mutants: python tests/mutants/run.py [--only TEXT] [--jobs N] [--check].

Each mutant is one text of one file replaced in a temporary copy of the tree. It is killed when the tests named for it
fail; a copy that is not changed must pass them all. The checkout is never touched.
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

LEFT_BEHIND = shutil.ignore_patterns(
    ".*", "out", "build", "dist", "_build", "jupyter_execute", "weights", "__pycache__", "*.egg-info", "node_modules"
)
"""What no test of a table reads; names with a dot hold the environment, git and caches."""

PATIENCE = 600.0
"""Seconds until a mutant that hangs counts as noticed."""

FAILED = 1
"""What pytest returns when tests ran and some failed; everything else but 0 is an error of the table."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of one file, and the arguments of pytest for the tests that must notice."""

    name: str
    file: str
    old: str
    new: str
    tests: list[str]

    def changed(self, text: str) -> str | None:
        """The text of the file with the change, or ``None`` unless `old` occurs exactly once."""
        return text.replace(self.old, self.new) if text.count(self.old) == 1 and self.old != self.new else None


def table(only: str = "") -> list[Mutant]:
    """All mutants whose name or file has `only` in it."""
    entries = [entry for path in sorted(HERE.glob("*.toml")) for entry in tomllib.loads(path.read_text())["mutant"]]
    return [mutant for mutant in (Mutant(**entry) for entry in entries) if only in f"{mutant.name} {mutant.file}"]


def stale(mutants: list[Mutant]) -> list[Mutant]:
    """Those whose text is gone, or is there twice."""
    return [m for m in mutants if not (ROOT / m.file).exists() or m.changed((ROOT / m.file).read_text()) is None]


def copied(folder: Path) -> Path:
    """A copy of the tree; what runs in it imports it."""
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, ignore=LEFT_BEHIND)
    command = [sys.executable, "-c", "import theory, ssmreduce; print(theory.__file__, ssmreduce.__file__)"]
    found = subprocess.run(command, cwd=tree, env=environment(tree), capture_output=True, text=True, check=True)
    if not all(Path(name).resolve().is_relative_to(tree.resolve()) for name in found.stdout.split()):
        raise SystemExit(f"the copy imports {found.stdout.strip()}, not itself")
    return tree


def environment(tree: Path) -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": str(tree),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def outcome(tree: Path, tests: list[str]) -> tuple[int | None, str]:
    """Exit code of pytest (``None``: hangs) and the end of what it wrote."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment(tree), capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return None, ""
    return done.returncode, done.stdout[-3000:] + done.stderr[-1000:]


def verdict(tree: Path, mutant: Mutant) -> tuple[str, str]:
    """What became of one mutant, and the last lines of the tests where that needs explaining."""
    path = tree / mutant.file
    before = path.read_text()
    after = mutant.changed(before)
    if after is None:
        return "stale", ""
    path.write_text(after)
    try:
        code, text = outcome(tree, mutant.tests)
    finally:
        path.write_text(before)
    if code in (None, FAILED):
        return "killed", ""
    return ("SURVIVED", "") if code == 0 else ("broken", text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="mutants with this text in their name or file")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="mutants at a time")
    parser.add_argument("--check", action="store_true", help="only say which texts are gone")
    options = parser.parse_args()
    mutants = table(options.only)
    if not mutants or options.check:
        for mutant in stale(mutants):
            print(f"stale: {mutant.name} ({mutant.file})")
        print(f"{len(mutants)} mutants")
        return int(not mutants or bool(stale(mutants)))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        trees: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for job in range(options.jobs):
            trees.put(copied(Path(folder) / str(job)))

        def timed(mutant: Mutant | None, tests: list[str]) -> tuple[str, str, float]:
            tree, start = trees.get(), time.perf_counter()
            try:
                if mutant is not None:
                    return (*verdict(tree, mutant), time.perf_counter() - start)
                code, text = outcome(tree, tests)
                return "passes" if code == 0 else "broken", text, time.perf_counter() - start
            finally:
                trees.put(tree)

        asked = sorted({tuple(mutant.tests) for mutant in mutants})
        print(f"{len(mutants)} mutants, {len(asked)} sets of tests, {options.jobs} at a time", flush=True)
        for tests, (word, text, seconds) in zip(asked, pool.map(lambda t: timed(None, list(t)), asked), strict=True):
            print(f"  unchanged {seconds:6.1f} s  {word}  {' '.join(tests)}", flush=True)
            if word == "broken":
                print(text)
                return 1
        waiting = {pool.submit(timed, mutant, mutant.tests): mutant for mutant in mutants}
        rows = []
        for count, future in enumerate(as_completed(waiting), 1):
            mutant, (word, text, seconds) = waiting[future], future.result()
            rows.append((mutant, word, seconds))
            print(
                f"  {count:3d}/{len(mutants)} {seconds:6.1f} s  {word:8s}  {mutant.name}\n{text}".rstrip(), flush=True
            )
    wrong = [row for row in rows if row[1] != "killed"]
    print(f"\n{len(rows) - len(wrong)} of {len(rows)} killed")
    for mutant, word, seconds in sorted(rows, key=lambda row: (row[1] == "killed", row[0].file, row[0].name)):
        print(f"  {word:8s} {seconds:6.1f} s  {mutant.file}: {mutant.name}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
