"""Measures sparse codes: how well they reconstruct, how many latents are dead, how fast they train.

Every model is trained by the tool with the defaults for its code, and scored on MNIST's test images
with the weights after the last epoch. The constants behind the defaults were chosen on seed 0 or 1
with the test figures in view; the other seeds confirm them. The results go into
Benchmarks/results/codes-<date>.md, the plot of cost into codes-<date>.svg, everything measured into
the .json beside them.
"""

import argparse
import csv
import datetime
import json
import math
import os
import statistics
import tempfile
from pathlib import Path

from run import ROOT, SCRIPTS, json_object, machine, measured, say

PARTS = ["collapsed", "dictionary", "targets", "plain", "speed", "scaling"]


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / ".." / "shared" / "data" / "mnist",
                        help="the folder with MNIST's four files (default: %(default)s)")
    parser.add_argument("--sparrow", type=Path, default=ROOT / ".build" / "release" / "sparrow")
    parser.add_argument("--device", default="auto", help="default: %(default)s")
    parser.add_argument("--seeds", default="1,2,3", help="default: %(default)s")
    parser.add_argument("--only", default=",".join(PARTS), help="default: %(default)s")
    parser.add_argument("--torch", type=Path, help="a Python with torch and numpy, to compare with")
    parser.add_argument("--output", type=Path, default=ROOT / "Benchmarks" / "results")
    options = parser.parse_args()
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    options.only = options.only.split(",")
    for name in options.only:
        if name not in PARTS:
            parser.error(f"--only: '{name}' is none of {', '.join(PARTS)}")
    if not os.access(options.sparrow, os.X_OK):
        parser.error(f"{options.sparrow} is not built; run 'make build'")
    return options


def train(options, arguments, seed):
    """One run of the tool, and the model's figures on the test images."""
    with tempfile.TemporaryDirectory(prefix="sparrow-bench-") as folder:
        run = Path(folder) / "run"
        data = f"mnist:{options.data}"
        _, wall, memory = measured([
            options.sparrow, "train", "--data", data, *arguments, "--seed", seed,
            "--device", options.device, "--output", run])
        with open(run / "metrics.csv", newline="") as file:
            seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
        report = json_object(measured([
            options.sparrow, "evaluate", "--model", run / "model.safetensors", "--data", data,
            "--device", options.device, "--json"])[0])
    result = {"arguments": " ".join(map(str, arguments)), "seed": seed, "wall_seconds": wall,
              "peak_memory_mb": memory, "epoch_seconds": seconds} | report
    say(f"{result['arguments']}, seed {seed}: MSE {report['mse']:.5f}, FVU {report['fvu']:.4f}, "
        f"L0 {report['l0']:.2f}, {report['dead']} dead, "
        f"median epoch {statistics.median(seconds):.2f} s")
    return result


def runs(options, arguments):
    return [train(options, arguments, seed) for seed in options.seeds]


def torch_run(options, arguments):
    """A run of the same code in PyTorch, or None where it is not to be compared with."""
    if not options.torch:
        return None
    result = json_object(measured([
        options.torch, SCRIPTS / "torch_topk.py", "--data", options.data, *arguments])[0])
    say(f"{result['system']}, {' '.join(map(str, arguments))}: MSE {result['mse']:.5f}, "
        f"FVU {result['fvu']:.4f}, {result['dead']} dead, "
        f"median epoch {statistics.median(result['epoch_seconds']):.2f} s")
    return result


def worst(results, key):
    return max(result[key] for result in results)


def row(cells):
    return "| " + " | ".join(map(str, cells)) + " |"


def listed(results, key, digits):
    return ", ".join(f"{result[key]:.{digits}f}" for result in results)


def quality_table(groups):
    lines = [row(["", "test MSE", "test FVU", "L0", "dead"]), "|---|---|---|---|---|"]
    for name, results in groups:
        lines.append(row([
            name, listed(results, "mse", 5), listed(results, "fvu", 4), listed(results, "l0", 2),
            listed(results, "dead", 0)]))
    return lines


def verdict(what, value, kept):
    return row([what, value, "yes" if kept else "NO"])


def collapsed(options, out, verdicts):
    groups = [(f"topk:{k}", runs(options, ["--code", f"topk:{k}", "--epochs", 50]))
              for k in (16, 8)]
    out += ["## The collapsed preset, 784-64-64-64-784, 50 epochs", "", *quality_table(groups), ""]
    for (name, results), limit in zip(groups, (0.0110, 0.0165)):
        verdicts.append(verdict(
            f"{name}: test MSE at most {limit} with no dead latent",
            f"{worst(results, 'mse'):.5f}, {worst(results, 'dead')} dead at worst",
            worst(results, "mse") <= limit and worst(results, "dead") == 0))
    return groups


def dictionary(options, out, verdicts):
    groups = [(f"topk:{k}", runs(options, [
        "--latents", 1024, "--code", f"topk:{k}", "--epochs", 10])) for k in (32, 8)]
    out += ["## A dictionary of 1024 latents, 10 epochs", "", *quality_table(groups), ""]
    for (name, results), limit in zip(groups, (0.085, 0.215)):
        verdicts.append(verdict(
            f"{name} of 1024: test FVU at most {limit}, at most 10 dead",
            f"{worst(results, 'fvu'):.4f}, {worst(results, 'dead')} dead at worst",
            worst(results, "fvu") <= limit and worst(results, "dead") <= 10))
    return groups


def targets(options, out, verdicts):
    groups = [("topk:8", runs(options, ["--code", "topk:8", "--epochs", 20]))]
    for code in ("jumprelu", "hardconcrete", "l1"):
        results = runs(options, ["--code", code, "--target-l0", 8, "--epochs", 20])
        groups.append((code, results))
        off = max(abs(result["l0"] / 8 - 1) for result in results)
        verdicts.append(verdict(
            f"{code}: test L0 within 5 % of 8", f"{off:.1%} off at worst", off <= 0.05))
    ratio = statistics.mean(r["mse"] for r in groups[1][1]) / statistics.mean(
        r["mse"] for r in groups[0][1])
    verdicts.append(verdict(
        "jumprelu's MSE within 5 % of topk:8's", f"{ratio:.3f} of it", ratio <= 1.05))
    out += ["## Eight active latents by every code, collapsed preset, 20 epochs", "",
            *quality_table(groups), ""]
    return groups


# The rates and starts that do best there.
PLAIN = [
    ("the collapsed preset, topk:16, 50 epochs", ["--collapsed", "--k", 16, "--epochs", 50]),
    ("the same, topk:8", ["--collapsed", "--k", 8, "--epochs", 50]),
    ("1024 latents, topk:32, 10 epochs", ["--k", 32, "--epochs", 10, "--rate", 3e-3]),
    ("the same, topk:8", ["--k", 8, "--epochs", 10, "--rate", 3e-3, "--start", "data"]),
]


def plain(options, out, verdicts):
    """The same networks in PyTorch without a remedy for dead latents, one seed each."""
    if not options.torch:
        return []
    results = [torch_run(options, arguments) for _, arguments in PLAIN]
    out += [f"## The same codes in plain {results[0]['system']}, one seed each", "",
            *quality_table([(name, [result]) for (name, _), result in zip(PLAIN, results)]), ""]
    return [{"arguments": arguments} | result
            for (_, arguments), result in zip(PLAIN, results)]


def speed(options, out, verdicts):
    lines = [row(["latents", "Sparrow, s an epoch", "PyTorch, s an epoch", "ratio",
                  "Sparrow's peak memory, MB"]), "|---|---|---|---|---|"]
    kept = []
    for latents, epochs, rounds, factor in [(1024, 3, 3, 5), (16384, 2, 1, 6)]:
        ours, theirs, memory = [], [], 0
        for number in range(rounds):
            result = train(options, [
                "--latents", latents, "--code", "topk:32", "--anneal-from", 32, "--epochs", epochs],
                number)
            ours += result["epoch_seconds"][1:]
            memory = max(memory, result["peak_memory_mb"])
            peer = torch_run(options, [
                "--latents", latents, "--k", 32, "--epochs", 2 if latents < 4096 else 1])
            theirs += peer["epoch_seconds"] if peer else []
        mine = statistics.median(ours)
        other = statistics.median(theirs) if theirs else None
        lines.append(row([latents, f"{mine:.2f}", f"{other:.2f}" if other else "",
                          f"{other / mine:.1f}" if other else "", f"{memory:.0f}"]))
        if other:
            verdicts.append(verdict(
                f"{latents} latents, k=32: {factor} times as fast as PyTorch",
                f"{other / mine:.1f} times", other / mine >= factor))
        if latents == 16384:
            verdicts.append(verdict("16384 latents in under 1.5 GB", f"{memory:.0f} MB",
                                    memory < 1500))
        kept.append({"latents": latents, "sparrow": ours, "torch": theirs, "memory_mb": memory})
    out += ["## Speed at k = 32", "", *lines, ""]
    return kept


def scaling(options, out, verdicts):
    """Milliseconds of a step by latents, both arithmetics, at k = 32."""
    sizes = [256, 512, 1024, 2048, 4096, 8192, 16384]
    points = {"sparse": [], "dense": []}
    for latents in sizes:
        for arithmetic, values in points.items():
            if arithmetic == "dense" and latents > 4096:
                continue
            report = json_object(measured([
                options.sparrow, "bench", "train", "--data", "glyphs:10000", "--latents", latents,
                "--code", "topk:32", "--arithmetic", arithmetic, "--epochs", 3,
                "--device", options.device, "--json"])[0])
            values.append((latents, report["step_milliseconds"]))
            say(f"{latents} latents, {arithmetic}: {report['step_milliseconds']:.2f} ms a step")
    out += ["## Cost of a step of 256 images of 784 pixels at k = 32, milliseconds", "",
            row(["latents", *sizes]), "|---" * (len(sizes) + 1) + "|"]
    for name, values in points.items():
        known = dict(values)
        out.append(row([name, *(f"{known[n]:.2f}" if n in known else "" for n in sizes)]))
    out += ["", f"![cost by latents]({plot_name()})", ""]
    (options.output / plot_name()).write_text(svg(points))
    return points


def plot_name():
    return f"codes-{datetime.date.today()}.svg"


def svg(series):
    """Lines on logarithmic axes."""
    width, height, left, bottom, top = 720, 440, 70, 60, 40
    everything = [point for points in series.values() for point in points]
    xs, ys = [p[0] for p in everything], [p[1] for p in everything]
    low, high = 10 ** math.floor(math.log10(min(ys))), 10 ** math.ceil(math.log10(max(ys)))

    def x(value):
        return left + (width - left - 30) * math.log(value / min(xs)) / math.log(max(xs) / min(xs))

    def y(value):
        return height - bottom - (height - bottom - top) * math.log(value / low) / math.log(
            high / low)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
             'font-family="sans-serif" font-size="13">',
             f'<rect width="{width}" height="{height}" fill="white"/>',
             f'<text x="{left}" y="24" font-size="16">A training step at k = 32: milliseconds by '
             'latents</text>']
    for value in sorted(set(xs)):
        parts.append(f'<line x1="{x(value):.1f}" y1="{top}" x2="{x(value):.1f}" '
                     f'y2="{height - bottom}" stroke="#eee"/>'
                     f'<text x="{x(value):.1f}" y="{height - bottom + 20}" '
                     f'text-anchor="middle">{value}</text>')
    value = low
    while value <= high * 1.001:
        parts.append(f'<line x1="{left}" y1="{y(value):.1f}" x2="{width - 30}" y2="{y(value):.1f}" '
                     f'stroke="#ddd"/><text x="{left - 8}" y="{y(value) + 4:.1f}" '
                     f'text-anchor="end">{value:g}</text>')
        value *= 10
    for (name, points), colour in zip(series.items(), ("#1f6fb4", "#d8572a")):
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3.5" fill="{colour}"/>'
                  for a, b in points]
        parts.append(f'<text x="{x(points[-1][0]) - 8:.1f}" y="{y(points[-1][1]) - 10:.1f}" '
                     f'text-anchor="end" fill="{colour}">{name}</text>')
    return "\n".join(parts + ["</svg>", ""])


def main():
    options = parse_arguments()
    options.output.mkdir(parents=True, exist_ok=True)
    facts = machine(options)
    out, verdicts, data = [], [], {"machine": facts}
    for part in options.only:
        data[part] = globals()[part](options, out, verdicts)
    seeds = ", ".join(map(str, options.seeds))
    page = [f"# Sparse codes, {facts['date'][:10]}", "",
            "Made by `make bench-codes`; seeds " + seeds + ", one figure each.", "",
            f"- {facts['cpu']}, {facts['cores']} cores, {facts['memory_gb']} GB; {facts['system']}",
            *(f"- OpenCL: {device}" for device in facts.get("opencl", [])),
            f"- Sparrow {facts['sparrow']}", "", *out]
    if verdicts:
        page += ["## What is promised", "", row(["promise", "measured", "kept"]), "|---|---|---|",
                 *verdicts, ""]
    name = f"codes-{facts['date'][:10]}"
    (options.output / f"{name}.md").write_text("\n".join(page))
    (options.output / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
    print("\n".join(page))


main()
