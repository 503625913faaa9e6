#!/usr/bin/env python3
"""From the results of peers/cpu.sh to a page: cpu_table.py RESULTS [FILE.md]; FILE is results/cpu-PROCESSOR.md beside this script.

Ratios are PyTorch's time by wgconv's: above 1 wgconv is faster.
"""
import json
import re
import statistics
import sys
from pathlib import Path

from gpu_table import PASSES, convolutions, geometric_mean, lines, number, shown, table


def by_program(rows, key):
    """For each key of a row, what each program's rows hold, in their order."""
    found = {}
    for row in rows:
        found.setdefault(key(row), {}).setdefault(row["program"], []).append(row)
    return {key: programs for key, programs in found.items() if len(programs) == 2}


def steps(folder):
    rows = [row for row in lines(folder, "steps") if "ms" in row]
    cells = []
    for (model, batch), programs in by_program(rows, lambda row: (Path(row["model"]).stem, row["batch"])).items():
        ours, torch = ([row["ms"] for row in programs[name]] for name in ("wgconv", "torch"))
        cells.append([model, batch, ", ".join(map(number, ours)), ", ".join(map(number, torch)),
                      number(statistics.median(torch) / statistics.median(ours)),
                      ", ".join(number(theirs / mine) for theirs, mine in zip(torch, ours))])
    page = table(["model", "batch", "wgconv, ms", "PyTorch, ms", "ratio of medians", "in each round"], cells)
    return ["## Training steps", ""] + page if page else []


def mnist(folder):
    rows = lines(folder, "mnist")
    cells = []
    for name, what in (("wgconv", "wgconv, the whole program"), ("torch", "PyTorch, from the first batch on")):
        found = [row for row in rows if row.get("program") == name]
        if found:
            cells.append([what, found[-1]["epochs"], " and ".join(number(row["seconds"]) for row in found),
                          " and ".join(f"{100 * row['accuracy']:.2f} %" for row in found)])
    page = table(["", "epochs", "seconds", "test accuracy, last epoch"], cells)
    return ["## MNIST with lenet", "", "Batches of 64; the test set after every epoch.", ""] + page if page else []


def passes(folder, part, title):
    """Means and extremes of each pass, then every row."""
    rows = lines(folder, part)
    ours, torch = (convolutions(row for row in rows if row.get("program") == name) for name in ("wgconv", "torch"))
    ratios = {key: torch[key]["ms"] / ours[key]["ms"] for key in ours if key in torch}
    if not ratios:
        return []
    cells = []
    for name in PASSES:
        found = {key: value for key, value in ratios.items() if key[1] == name}
        least, most = (choose(found, key=found.get) for choose in (min, max))
        cells.append([name, len(found), number(geometric_mean(found.values())), f"{number(found[least])} ({shown(least[0])})",
                      f"{number(found[most])} ({shown(most[0])})"])
    page = [f"## {title}", ""] + table(["pass", "rows", "geometric mean", "least", "most"], cells)
    cells = []
    for sizes in dict.fromkeys(key[0] for key in ratios):
        of_pass = [(ours.get((sizes, name)), torch.get((sizes, name))) for name in PASSES]
        cells.append([shown(sizes)] + [f"{number(mine['ms'])}, {number(other['ms'])}: {number(other['ms'] / mine['ms'])}"
                                       if mine and other else "-" for mine, other in of_pass])
    page += ["Milliseconds of wgconv and of PyTorch, and the ratio:", ""]
    return page + table(["convolution", *PASSES], cells)


def main():
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {folder / 'about.json'}: expected what cpu.sh writes there, found {error}")
    page = [f"# The CPU executor beside PyTorch: {about['processor']}", ""]
    if about["quick"]:
        page += ["**A trial, as an example of the form: no figure to go by.**", ""]
    page += table(["", ""], [
        ["processor", f"{about['processor']}, family {about['family']}, model {about['model']}"], ["features", about["features"]],
        ["caches, of all cores", ", ".join(f"{name} {size}" for name, size in about["caches"].items() if size)],
        ["cores, threads", f"{about['cores']}, {about['threads']}"], ["PyTorch", about["torch"]], ["Rust", about["rust"]],
        ["date", about["date"]], ["commit", about["commit"]], ["command", f"`{about['command']}`"]])
    page += ["The two programs in turns; ratios are PyTorch's time by wgconv's: above 1 wgconv is faster.", ""]
    page += steps(folder) + mnist(folder)
    page += passes(folder, "deepbench", "DeepBench's convolutions, batches of 8, up to 20 GFLOP")
    page += passes(folder, "groups", "Small groups and depthwise convolutions")
    slug = re.sub(r"[^a-z0-9]+", "-", f"{about['processor']} {about['family']} {about['model']}".lower()).strip("-")
    path = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent / "results" / f"cpu-{slug}.md"
    path.write_text("\n".join(page).rstrip() + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
