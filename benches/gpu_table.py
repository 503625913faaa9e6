#!/usr/bin/env python3
"""From the results of gpu.sh to a page: gpu_table.py RESULTS [FILE.md]; FILE is results/ADAPTER.md beside this script.

Of several rows for the same work the last counts. Ratios are the other's time by ours: above 1 ours is faster.
"""
import json
import math
import re
import sys
from pathlib import Path

PASSES = ["forward", "grad_filters", "grad_input"]


def lines(folder, part):
    """The JSON objects of a part; a line that was cut off is passed over."""
    try:
        text = (folder / f"{part}.jsonl").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    found = []
    for line in text.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            pass
    return found


def table(header, rows):
    """A Markdown table; nothing without rows."""
    if not rows:
        return []
    text = [[cell.replace("|", "\\|") for cell in map(str, row)] for row in rows]
    return ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)] + ["| " + " | ".join(row) + " |" for row in text] + [""]


def number(value, digits=3):
    """Three digits that count, without an exponent; `-` for none."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"


def geometric_mean(values):
    values = [value for value in values if value]
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def ratio(theirs, ours):
    return theirs / ours if theirs and ours else None


def sizes(case):
    """The sizes of a convolution as a key; what files leave out is 1."""
    names = ["batch", "in_channels", "in_height", "in_width", "out_channels", "kernel_height", "kernel_width", "pad_height",
             "pad_width", "stride_height", "stride_width", "dilation_height", "dilation_width", "groups"]
    return tuple(int(case.get(name, 1)) for name in names)


def shown(key):
    n, c, h, w, k, r, s, ph, pw, u, v, l, j, g = key
    pair = lambda letter, a, b, usual: "" if a == b == usual else f" {letter}{a}" if a == b else f" {letter}{a},{b}"
    more = pair("p", ph, pw, 0) + pair("s", u, v, 1) + pair("d", l, j, 1) + (f" g{g}" if g > 1 else "")
    return f"{n}x{c}x{h}x{w} k{k} {r}x{s}{more}"


def convolutions(rows):
    """The rows of convolutions by sizes and pass."""
    return {(sizes(row["case"]), row["pass"]): row for row in rows if "case" in row and isinstance(row["case"], dict) and "ms" in row}


def kernels(folder):
    rows = lines(folder, "verify")
    totals = [row for row in rows if "PASSED" in row and "device" in row]
    page = ["## Kernels against their definitions", ""]
    names = ["shader checks off", "shader checks on"]
    cells = [[name, *(f"{row[status]:,}" for status in ("PASSED", "FAILED", "SKIPPED", "MISTRUSTED")), number(row["seconds"])]
             for name, row in zip(names, totals)]
    page += table(["", "passed", "failed", "skipped", "mistrusted", "s"], cells)
    units = [row for row in rows if row.get("matrix_units")]
    page += [f"Matrix units of {row['profile']['name']}, by their own test: {row['matrix_units']}." for row in units] + [""] * bool(units)
    special = [row["special_values"] for row in rows if "special_values" in row]
    if special:
        page += [f"Special values (ties, NaN, infinities, rows without a label): {special[-1]}.", ""]
    failed = [row for row in rows if row.get("status") == "FAILED"]
    page += [f"- {row['op']} ({row['case']}), {row['implementation']}, {row['data']}: {row['detail']}" for row in failed[:50]]
    return page + [""] * bool(failed) if cells or special else []


def launch_costs(folder):
    rows = lines(folder, "launches")
    cells = {row["launches"]: [row["launches"], *(number(row[key]) for key in ("gpu_us", "wall_us", "host_us")), row["timed_by"]]
             for row in rows if "launches" in row}
    page = table(["a thousand empty launches", "device, us each", "wall, us each", "host, us each", "device by"], cells.values())
    ceilings = [row["ceilings"] for row in rows if "ceilings" in row]
    if ceilings:
        page += [f"Ceilings: {number(ceilings[-1]['gflops'] / 1e3)} TFLOP/s in multiply-adds, "
                 f"{number(ceilings[-1]['gigabytes_per_s'])} GB/s in copies.", ""]
    return ["## Launches and ceilings", ""] + page if page else []


def deepbench(folder):
    rows = lines(folder, "deepbench")
    theirs = [row for row in rows if row.get("program") == "torch"]
    ours = convolutions(row for row in rows if row.get("program") == "wgconv")
    torch = convolutions(row for row in theirs if row.get("dtype") == "f32")
    half = convolutions(row for row in theirs if row.get("dtype") == "f16")
    burn = convolutions(lines(folder, "peers"))
    if not ours and not torch:
        return []
    page = ["## Convolutions", "", "GFLOP/s are geometric means; the ratio is that of the rows that both have.", ""]
    cells = []
    for name in PASSES:
        of = lambda rows: {key: row for key, row in rows.items() if key[1] == name}
        mean = lambda rows: number(geometric_mean(row["gflops"] for row in of(rows).values()))
        against = lambda others: number(geometric_mean(ratio(row["ms"], ours[key]["ms"]) for key, row in of(others).items() if key in ours))
        cells.append([name, len(of(ours)), mean(ours), mean(torch), against(torch), mean(half), against(burn)])
    page += table(["pass", "rows", "wgconv, GFLOP/s", "PyTorch, GFLOP/s", "PyTorch / wgconv", "PyTorch f16, GFLOP/s", "Burn / wgconv"], cells)
    statuses = {}
    for row in ours.values():
        statuses[row.get("status", "not verified")] = statuses.get(row.get("status", "not verified"), 0) + 1
    page += ["Verified: " + ", ".join(f"{count} {status}" for status, count in sorted(statuses.items())) + ".", ""]
    cells = []
    for key in sorted(ours.keys() | torch.keys(), key=lambda key: (key[0], PASSES.index(key[1]))):
        mine, other, f16 = (rows.get(key) for rows in (ours, torch, half))
        ms = lambda row: row["ms"] if row else None
        cells.append([shown(key[0]), key[1], mine["implementation"] if mine else "-", number(ms(mine)),
                      number(mine["gflops"] if mine else None), number(ms(other)), number(ratio(ms(other), ms(mine))), number(ms(f16)),
                      mine.get("status", "-") if mine else "-"])
    return page + table(["convolution", "pass", "implementation", "ms", "GFLOP/s", "PyTorch, ms", "ratio", "PyTorch f16, ms", ""], cells)


# What the names of models end with whose step is in mixed precision.
MIXED = "+mixed"


def steps(folder):
    rows = lines(folder, "steps")
    ours = {(row["step"], row["batch"]): row for row in rows if "step" in row}
    torch = {(row["model"], row["batch"], row["dtype"], row.get("graph", False)): row["ms"] for row in rows if row.get("program") == "torch"}
    cells = []
    for (model, batch), row in sorted(ours.items()):
        if model.endswith(MIXED):
            continue
        mixed = ours.get((model + MIXED, batch))
        eager, graph = (torch.get((model, batch, "f32", is_graph)) for is_graph in (False, True))
        best = min((ms for ms in (eager, graph) if ms), default=None)
        cells.append([model, batch, row["launches"], row["barriers"], number(row["wall_ms"]), number(row["gpu_ms"]), number(row["host_ms"]),
                      number(row["images_per_s"]), number(eager), number(graph), number(ratio(best, row["wall_ms"])),
                      number(mixed and mixed["wall_ms"]), number(torch.get((model, batch, "f16", True)))])
    page = table(["model", "batch", "launches", "barriers", "wall, ms", "device, ms", "host, ms", "images/s", "PyTorch eager, ms",
                  "PyTorch graph, ms", "ratio to the better", "mixed precision, ms", "PyTorch f16 graph, ms"], cells)
    return ["## Training steps", ""] + page + operations(rows) if page else []


def operations(rows):
    """Where a step's time goes: each of its operations alone, those of a kind together."""
    found = {}
    for row in rows:
        if "operation" in row and not row["operation_of"].endswith(MIXED):
            found.setdefault((row["operation_of"], row["batch"]), {}).setdefault(row["operation"], []).append(row)
    page = []
    for (model, batch), kinds in sorted(found.items()):
        total = lambda rows: sum(row["us"] * row["count"] for row in rows)
        flops = lambda rows: sum(row["gflops"] * row["us"] * row["count"] for row in rows) / total(rows)
        cells = [[name, sum(row["count"] for row in rows), number(total(rows)), number(flops(rows))]
                 for name, rows in sorted(kinds.items(), key=lambda item: -total(item[1]))]
        whole = sum(total(rows) for rows in kinds.values())
        page += [f"{model}, batches of {batch}: its operations, each timed alone, take {number(whole)} us.", ""]
        page += table(["operation", "times", "us together", "GFLOP/s"], cells)
    return page


def recipes(folder):
    """A run's epochs come before the line that names its recipe."""
    runs, epochs, views = [], [], None
    for row in lines(folder, "recipes"):
        if "recipe" in row:
            runs.append((row, epochs, views))
            epochs, views = [], None
        elif "epoch" in row:
            epochs.append(row)
        else:
            views = row
    cells = []
    for row, epochs, views in sorted(runs, key=lambda run: (run[0]["recipe"], run[0]["seed"], run[0]["program"] != "wgconv")):
        if not epochs:
            continue
        is_ours, percent = row["program"] == "wgconv", lambda share: "-" if share is None else f"{100 * share:.2f} %"
        last = epochs[-1] if is_ours else views or epochs[-1]
        with_views = (views or {}).get("test/accuracy" if is_ours else "test/accuracy_tta")
        training = sum(epoch["seconds"] for epoch in epochs) if is_ours else last["seconds"]
        whole = row["whole"] if is_ours else (views or {}).get("whole")
        cells.append([row["recipe"], row["seed"], row["program"], len(epochs), percent(last["test/accuracy"]), percent(with_views),
                      number(training), number(whole)])
    page = table(["recipe", "seed", "program", "epochs", "test accuracy", "with test-time augmentation", "epochs, s", "whole program, s"], cells)
    return ["## Recipes", "", "wgconv's epochs count the test set after each, PyTorch's training alone.", ""] + page if page else []


def mnist(folder):
    rows = lines(folder, "mnist")
    epochs = [row for row in rows if "test/accuracy" in row]
    page, seconds = [], 0.0
    for row in epochs:
        seconds += row["seconds"]
        if row["test/accuracy"] >= 0.99:
            page.append(f"- wgconv: {100 * row['test/accuracy']:.2f} % after {row['epoch']} epochs, {number(seconds)} s.")
            break
    else:
        if epochs:
            page.append(f"- wgconv: {100 * epochs[-1]['test/accuracy']:.2f} % after {len(epochs)} epochs, {number(seconds)} s.")
    page += [f"- wgconv, the whole program with all {len(epochs)} epochs, loading and tuning: {number(row['seconds'])} s."
             for row in rows if row.get("mnist")][-1:]
    page += [f"- PyTorch: {100 * row['accuracy']:.2f} % after {row['epochs']} epochs, {number(row['seconds'])} s."
             for row in rows if row.get("program") == "torch"][-1:]
    return ["## MNIST with lenet, to 99 %", ""] + page + [""] if page else []


def candidates(folder):
    found = {}
    for row in lines(folder, "candidates"):
        if isinstance(row.get("case"), dict) and "ms" in row:
            found.setdefault((sizes(row["case"]), row["pass"]), {})[row["implementation"]] = row["ms"]
    cells, losses = [], {name: [] for name in PASSES}
    for key in sorted(found, key=lambda key: (key[0], PASSES.index(key[1]))):
        times = found[key]
        guess, best = next(iter(times)), min(times, key=times.get)
        losses[key[1]].append(times[guess] / times[best])
        others = ", ".join(f"{name} {number(ms)}" for name, ms in sorted(times.items(), key=lambda item: item[1]))
        cells.append([shown(key[0]), key[1], guess, number(times[guess] / times[best]), others])
    if not cells:
        return []
    means = ", ".join(f"{name} {number(geometric_mean(values))}" for name, values in losses.items() if values)
    return ["## What the rules offer", "", f"Time of the best guess by that of the fastest, geometric mean: {means}.", ""] + table(
        ["convolution", "pass", "best guess", "by the fastest", "ms"], cells)


def main():
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    if not folder.is_dir():
        sys.exit(f"error: no folder {folder}")
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {folder / 'about.json'}: expected what gpu.sh writes there, found {error}")
    every = [row for part in ("deepbench", "launches", "steps", "candidates") for row in lines(folder, part)]
    device = next((row for row in every if "driver" in row), {})
    adapter = device.get("adapter", "unknown adapter")
    torch = next((row["adapter"] for row in every if row.get("program") == "torch"), None)
    page = [f"# {adapter}", ""]
    if about.get("reduced"):
        page += ["**A reduced run, as an example of the form: no figure of a GPU.**", ""]
    page += table(["", ""], [
        ["driver", device.get("driver", "-")], ["backend", device.get("backend", "-")], ["host", about.get("host", "-")],
        ["PyTorch", f"{about['torch']}, on {torch}" if torch else "-"], ["date", about.get("date", "-")],
        ["commit", about.get("pack", {}).get("commit", "-")],
        ["commands", f"`benches/gpu.sh pack`, `{about.get('command', 'gpu.sh').strip()}`, `benches/gpu.sh table`"]])
    for section in (kernels, launch_costs, deepbench, steps, recipes, mnist, candidates):
        page += section(folder)
    try:
        notes = [line for line in (folder / "log.txt").read_text(encoding="utf-8", errors="replace").splitlines()
                 if not line.endswith("...") and " done: " not in line]
    except OSError:
        notes = []
    notes = list(dict.fromkeys(line.split(" ", 1)[-1] for line in notes))
    if notes:
        page += ["## What went otherwise", ""] + [f"- {line}" for line in notes] + [""]
    slug = re.sub(r"[^a-z0-9]+", "-", adapter.lower()).strip("-")
    path = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent / "results" / f"{slug}.md"
    path.write_text("\n".join(page).rstrip() + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
