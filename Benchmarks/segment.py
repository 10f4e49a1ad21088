"""Measures segmentation with few labels: ISBI 2012 membranes, BBBC039 nuclei, speed and memory.

ISBI: trained on N of the slices 0-19, tested on 20-29, our own split. Everything is done by the tool, from scratch
but for the comparison, for which a front end is pretrained once on the unlabelled training images. With one labelled
slice the network also learns from the other training slices, without their labels: "isbi" labels the slice that each
seed draws, "isbi17" slice 17, which the PyTorch U-Net's 0.780 is of. The results go into
Benchmarks/results/segment-<date>.md and everything measured into the .json beside it, after each run:
a measurement that is cut off keeps what it has.
"""

import argparse
import csv
import datetime
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

from run import ROOT, SCRIPTS, json_object, machine, measured, say

PARTS = ["speed", "isbi", "isbi17", "isbi20", "bbbc039", "pretraining", "large"]
VIEWS = (1, 2, 8)
CLASSES = {"isbi2012": "membrane=0,cell=255", "bbbc039": "background=0,nucleus=1"}


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / ".." / "shared" / "data",
                        help="the folder with isbi2012 and bbbc039 (default: %(default)s)")
    parser.add_argument("--sparrow", type=Path, default=ROOT / ".build" / "release" / "sparrow")
    parser.add_argument("--device", default="auto", help="default: %(default)s")
    parser.add_argument("--seeds", default="1,2,3", help="default: %(default)s")
    parser.add_argument("--labels", default="1,2,5,20", help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=200,
                        help="of each run of the comparison with scratch (default: %(default)s)")
    parser.add_argument("--only", default=",".join(PARTS), help="default: %(default)s")
    parser.add_argument("--torch", type=Path, help="a Python with torch, to compare with")
    parser.add_argument("--front", type=Path, help="a pretrained front end for ISBI, if there is one")
    parser.add_argument("--output", type=Path, default=ROOT / "Benchmarks" / "results")
    options = parser.parse_args()
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    options.labels = [int(count) for count in options.labels.split(",")]
    options.only = options.only.split(",")
    for name in options.only:
        if name not in PARTS:
            parser.error(f"--only: '{name}' is none of {', '.join(PARTS)}")
    if not os.access(options.sparrow, os.X_OK):
        parser.error(f"{options.sparrow} is not built; run 'make build'")
    return options


class Bench:
    def __init__(self, options, scratch):
        self.options = options
        self.scratch = Path(scratch)
        self.results = {"machine": machine(options), "runs": []}
        self.lines = []
        self.count = 0
        day = datetime.date.today().isoformat()
        self.path = options.output / f"segment-{day}"

    def save(self):
        self.options.output.mkdir(parents=True, exist_ok=True)
        self.path.with_suffix(".json").write_text(json.dumps(self.results, indent=1) + "\n")
        facts = self.results["machine"]
        text = "\n".join([
            f"# Segmentation with few labels, {facts['date'][:10]}", "",
            "Made by `make bench-segment`.", "",
            f"- {facts['cpu']}, {facts['cores']} cores, {facts['memory_gb']} GB; {facts['system']}",
            *(f"- OpenCL: {device}" for device in facts.get("opencl", [])),
            f"- Sparrow {facts['sparrow']}", "", *self.lines]) + "\n"
        self.path.with_suffix(".md").write_text(text)

    def say(self, *lines):
        self.lines += lines
        self.save()

    def tool(self, *arguments):
        return measured([self.options.sparrow, "segment", *map(str, arguments)])

    def folder(self):
        self.count += 1
        return self.scratch / f"run{self.count}"

    def front(self, data, minutes):
        if self.options.front and data == "isbi2012":
            return self.options.front
        path = self.folder()
        _, wall, memory = self.tool(
            "pretrain", "--images", self.options.data / data / "train" / "images", "--minutes",
            minutes, "--device", self.options.device, "--output", path)
        self.results.setdefault("pretraining", []).append(
            {"data": data, "wall_seconds": wall, "peak_memory_mb": memory})
        self.say(f"Pretrained on {data}'s unlabelled training images in {wall / 60:.1f} min.", "")
        return path

    def alone(self, folder, name):
        """A folder with images and labels of one of those in `folder`."""
        path = self.folder()
        for kind in ("images", "labels"):
            (path / kind).mkdir(parents=True)
            for file in (folder / kind).glob(f"{name}.*"):
                (path / kind / file.name).symlink_to(file.resolve())
        return path

    def train(self, data, count, seed, *arguments, front=None, views=(), only=None):
        """One training and its figures on the test images, by as many views as is the default and
        by `views`; `only` names the labelled image."""
        source = self.options.data / data
        labelled = self.alone(source / "train", only) if only else source / "train"
        path = self.folder()
        pretrained = ["--pretrained", front] if front else []
        _, wall, memory = self.tool(
            "train", "--images", labelled / "images", "--labels", labelled / "labels",
            "--classes", CLASSES[data], "--limit", count, "--seed", seed, "--device",
            self.options.device, "--output", path, *pretrained, *arguments)
        evaluation = [
            "evaluate", "--model", path, "--images", source / "test" / "images", "--labels",
            source / "test" / "labels", "--device", self.options.device, "--json"]
        report = json_object(self.tool(*evaluation)[0])
        by_views = {count: json_object(self.tool(*evaluation, "--views", count)[0])
                    for count in views}
        with open(path / "metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        pairs = list(zip(rows, rows[1:]))
        steps = [(float(b["seconds"]) - float(a["seconds"])) / (int(b["step"]) - int(a["step"]))
                 for a, b in pairs]
        result = {
            "data": data, "labelled": only or count, "seed": seed, "pretrained": bool(front),
            "arguments": " ".join(
                os.path.relpath(part, ROOT) if isinstance(part, Path) else str(part)
                for part in arguments), "steps": int(rows[-1]["step"]),
            "wall_seconds": wall, "peak_memory_mb": memory,
            "train_seconds": float(rows[-1]["seconds"]),
            "step_seconds": statistics.median(steps) if steps else None,
            "miou": report["miou"], "iou": report["iou"], "accuracy": report["accuracy"],
            "boundary_f": report["mean_boundary_f"],
            "views": {count: {key: figures[key] for key in
                              ("miou", "iou", "accuracy", "seconds_per_image")}
                      for count, figures in by_views.items()},
            "seconds_per_image": report.get("seconds_per_image")}
        self.results["runs"].append(result)
        self.save()
        say(f"{data}, N={count}, seed {seed}, {'pretrained' if front else 'scratch'}: "
            f"mIoU {report['miou']:.4f} after {result['steps']} steps, {wall:.0f} s")
        return result


def row(cells):
    return "| " + " | ".join(map(str, cells)) + " |"


def spread(values):
    mean = statistics.mean(values)
    deviation = statistics.stdev(values) if len(values) > 1 else 0
    return f"{mean:.4f} +- {deviation:.4f}"


def quality(bench, title, data, count, seeds, front, *arguments, limit, key, only=None):
    runs = [bench.train(data, count, seed, *arguments, front=front, views=VIEWS, only=only)
            for seed in seeds]
    cells = []
    for seen in ([key(run["views"][count]) for run in runs] for count in VIEWS):
        cells.append(", ".join(f"{value:.4f}" for value in seen)
                     + f"; mean {statistics.mean(seen):.4f}")
    bench.say(row([
        title, *cells, limit, f"{runs[0]['steps']}",
        f"{max(run['train_seconds'] for run in runs):.0f} s"]))


QUALITY = ["## Few labels", "",
           row(["", "one view", "two views, the default", "eight views", "wanted", "steps", "training"]),
           "|---|---|---|---|---|---|---|"]


def comparison(bench, front):
    options = bench.options
    bench.say("", f"## Pretrained against scratch, {options.steps} steps, mIoU", "",
              row(["labelled slices", "pretrained", "scratch"]), "|---|---|---|")
    for count in options.labels:
        cells = []
        for start in (front, None):
            runs = [bench.train("isbi2012", count, seed, "--steps", options.steps, front=start)
                    for seed in options.seeds]
            cells.append(spread([run["miou"] for run in runs]))
        bench.say(row([count, *cells]))


def speed(bench):
    options = bench.options
    ours, theirs = [], []
    for _ in range(3):
        run = bench.train("isbi2012", 1, 1, "--steps", 40, "--code", "relu", views=(1,))
        ours.append((run["step_seconds"], run["views"][1]["seconds_per_image"]))
        if options.torch:
            theirs.append(json_object(measured(
                [options.torch, SCRIPTS / "torch_unet.py"])[0]))
    bench.results["speed"] = {"sparrow": ours, "torch": theirs}
    lines = ["", "## Speed, alternating rounds", "",
             row(["", "step of 4 crops of 192x192", "512x512 image, one view"]), "|---|---|---|",
             row(["Sparrow", ", ".join(f"{a:.3f} s" for a, _ in ours),
                  ", ".join(f"{b:.3f} s" for _, b in ours)])]
    if theirs:
        lines.append(row([
            theirs[0]["system"], ", ".join(f"{t['step_seconds']:.3f} s" for t in theirs),
            ", ".join(f"{t['predict_seconds']:.3f} s" for t in theirs)]))
        ratios = [t["step_seconds"] / a for (a, _), t in zip(ours, theirs)]
        lines.append("")
        lines.append("A step takes PyTorch " + ", ".join(f"{r:.2f}" for r in ratios)
                     + " times as long.")
    bench.say(*lines, "")


def large(bench, model):
    """A 20000 x 20000 16-bit TIFF, made of drawn cells side by side."""
    script = Path(__file__).with_name("large_tiff.py")
    path = bench.scratch / "large.tif"
    subprocess.run(["python3", script, path, "20000"], check=True)
    _, wall, memory = bench.tool(
        "predict", "--model", model, "--images", path, "--output", bench.folder(), "--device",
        bench.options.device)
    bench.results["large"] = {"wall_seconds": wall, "peak_memory_mb": memory}
    bench.say("", f"A 20000 x 20000 8-bit TIFF: {wall / 60:.1f} min, {memory:.0f} MB at most.")


def main():
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="sparrow-bench-") as scratch:
        bench = Bench(options, scratch)
        if "speed" in options.only:
            speed(bench)
        front = None
        if "pretraining" in options.only:
            front = bench.front("isbi2012", 6)
        if {"isbi", "isbi17", "isbi20", "bbbc039"} & set(options.only):
            bench.say(*QUALITY)
        for part, only, title in (("isbi", None, "one slice"), ("isbi17", "slice17", "slice 17")):
            if part in options.only:
                quality(bench, f"ISBI, {title} and 19 without labels, 4 minutes, mIoU", "isbi2012",
                        1, options.seeds, None, "--minutes", 4, "--batch", 2, "--unlabelled",
                        options.data / "isbi2012" / "train" / "images", limit=0.79,
                        key=lambda run: run["miou"], only=only)
        if "isbi20" in options.only:
            quality(bench, "ISBI, 20 slices, 12 minutes, mIoU", "isbi2012", 20, options.seeds,
                    None, "--minutes", 12, "--batch", 2, "--augmentation", "light",
                    "--adapt", 0.2, limit=0.80, key=lambda run: run["miou"])
        if "bbbc039" in options.only:
            quality(bench, "BBBC039, one image, 2.5 minutes, IoU of nuclei", "bbbc039", 1,
                    options.seeds, None, "--minutes", 2.5, "--batch", 2, "--augmentation", "sharp",
                    "--outlines", 20,
                    limit=0.94, key=lambda run: run["iou"]["nucleus"])
        if "pretraining" in options.only:
            comparison(bench, front)
        if "large" in options.only:
            path = bench.folder()
            bench.tool("draw", "--count", 2, "--output", path)
            model = bench.folder()
            bench.tool("train", "--images", path / "images", "--labels", path / "labels",
                       "--steps", 20, "--output", model)
            large(bench, model)
        say(f"written to {bench.path}.md")


main()
