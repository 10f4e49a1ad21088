"""Measures what trust rests on: killed runs that end as ones left alone, what checkpoints cost, flat memory, and how
long the self-test before the first use of a device takes.

Each section is a function of the table SECTIONS that returns lines of Markdown, and is written into
Benchmarks/results/trust-<date>.md when it is done; what it measured goes into the .json beside it. Sections that are
not run again keep what they had on the same day, and the commit it was measured at.
"""

import argparse
import csv
import datetime
import gzip
import json
import math
import os
import shutil
import statistics
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from kill_and_resume import kill_and_resume
from run import ROOT, machine, say, stop

# Name, verb and arguments.
KILLED = [
    ("relu", ["train", "--epochs", "12"]),
    ("topk:16", ["train", "--code", "topk:16", "--epochs", "10"]),
    ("jumprelu, target 8", ["train", "--code", "jumprelu", "--target-l0", "8", "--epochs", "10"]),
    ("hardconcrete, target 8", ["train", "--code", "hardconcrete", "--target-l0", "8", "--epochs", "8"]),
    ("batchtopk:16", ["train", "--code", "batchtopk:16", "--epochs", "8"]),
    ("512 latents, topk:16, sparse arithmetic",
     ["train", "--latents", "512", "--code", "topk:16", "--arithmetic", "sparse", "--epochs", "4"]),
    ("sweep, topk:8 and topk:16", ["sweep", "--code", "topk", "--values", "8,16", "--epochs", "8"]),
]


def kills(options, results):
    head = ["## Killed and resumed", "",
            f"SIGKILL at random moments of `sparrow train` and `sparrow sweep` on {options.data_name}, a checkpoint every "
            "0.2 s; compared are model.safetensors, and metrics.csv without its times (`python3 Benchmarks/trust.py "
            "--only kills`).",
            "", "| network, code | kills | resumed | runs | identical endings |", "|---|---|---|---|---|"]
    for name, (verb, *arguments) in KILLED:
        if options.codes and not name.startswith(tuple(options.codes)):
            continue
        say(f"kills: {name}")
        result = kill_and_resume(
            options.sparrow, ["--data", options.data, *arguments], options.kills, verb=(verb,), device=options.device)
        results[name] = result
        yield head + [f"| {known} | {each['kills']} | {each['resumed']} | {each['runs']} | "
                      f"{each['identical']} of {each['runs']} |" for known, each in results.items()]


def timed(command, variables=None):
    """Runs a program that must succeed: its wall-clock and its processor seconds."""
    start = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env={**os.environ, **(variables or {})})
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        stop(f"exit status {process.returncode} from {' '.join(map(str, command))}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime


def first_images(data, count, path):
    """Writes the first images of the training part of `mnist:DIR` as an IDX file."""
    source = min(Path(data.removeprefix("mnist:")).glob("train-images*"))
    with (gzip.open if source.suffix == ".gz" else open)(source, "rb") as file:
        header, (_, rows, columns) = file.read(4), struct.unpack(">III", file.read(12))
        path.write_bytes(header + struct.pack(">III", count, rows, columns) + file.read(count * rows * columns))


def overhead(options, results):
    """Pairs of runs without checkpoints and with one after each epoch, alternating. The epochs are of a tenth of the
    images, and many, so that what checkpoints cost stands out of what one run and the next differ by anyhow."""
    count = 10 * options.epochs
    pairs = results["pairs"] = []
    with tempfile.TemporaryDirectory() as folder:
        images, run = Path(folder) / "images", Path(folder) / "run"
        # A tenth of them are kept for the test.
        first_images(options.data, 6827, images)

        def train(data, epochs, interval):
            shutil.rmtree(run, ignore_errors=True)
            return timed([options.sparrow, "train", "--data", data, "--epochs", epochs, "--output", run,
                          "--device", options.device, "--checkpoint-every", interval])[0]

        def epoch():
            train(options.data, options.epochs, "off")
            with open(run / "metrics.csv", newline="") as file:
                return statistics.median(float(row["seconds"]) for row in csv.DictReader(file))

        for pair in range(options.pairs):
            order = ["off", "1epochs"] if pair % 2 == 0 else ["1epochs", "off"]
            say(f"overhead: pair {pair + 1}")
            seconds = {interval: train(f"idx:{images}", count, interval) for interval in order}
            pairs.append({"off": seconds["off"], "on": seconds["1epochs"], "epoch": epoch()})
            whole = statistics.median(each["epoch"] for each in pairs)
            shares = [(each["on"] - each["off"]) / count / whole * 100 for each in pairs]
            yield ["## What checkpoints cost", "",
                   f"{count} epochs of the default network on 6144 images of {options.data_name}, without checkpoints and "
                   f"with one after each, alternating; the difference, divided by their number, is what one costs, of an "
                   f"epoch of all images, which takes {whole:.3f} s (`python3 Benchmarks/trust.py --only overhead`).", "",
                   "| pair | runs without, with | one checkpoint | of an epoch |", "|---|---|---|---|",
                   *[f"| {i + 1} | {each['off']:.3f} s, {each['on']:.3f} s | "
                     f"{(each['on'] - each['off']) / count * 1e3:.2f} ms | {share:.2f} % |"
                     for i, (each, share) in enumerate(zip(pairs, shares))], "",
                   f"One after each epoch costs {middle(shares)} % of the time; promised: under 2 %."]


def middle(values):
    """The median, and where it lies with 95 % by the order of the values, whatever their distribution."""
    ordered, count = sorted(values), len(values)
    text = f"{statistics.median(values):.2f}"
    below, tail = 0, 0.5 ** count
    while tail <= 0.025:
        below += 1
        tail += math.comb(count, below) * 0.5 ** count
    if below == 0:
        return text
    return f"{text} (95 % interval {ordered[below - 1]:.2f} to {ordered[count - below]:.2f})"


def memory(options, results):
    """Resident memory while epochs go by; one more than are asked about, since the process ends soon after the last."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [str(part) for part in
             [options.sparrow, "train", "--data", options.data, "--epochs", 101, "--output", Path(folder) / "run",
              "--device", options.device, "--checkpoint-every", "1e"]],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        resident = {}
        for line in process.stderr:
            if not line.startswith("epoch "):
                continue
            epoch = int(line.split()[1].split("/")[0])
            status = Path(f"/proc/{process.pid}/status").read_text()
            fields = dict(part.split(":", 1) for part in status.splitlines() if ":" in part)
            if "VmRSS" in fields:
                resident[epoch] = int(fields["VmRSS"].split()[0]) / 1024
        if process.wait() != 0:
            stop(f"exit status {process.returncode} from a training of 101 epochs")
    results["resident_mib"] = resident
    shown = [epoch for epoch in (1, 2, 5, 10, 50, 100) if epoch in resident]
    yield ["## Resident memory", "",
           f"101 epochs of the default network on {options.data_name}, a checkpoint after each; resident memory at the "
           "end of an epoch (`python3 Benchmarks/trust.py --only memory`).", "",
           "| epoch | " + " | ".join(map(str, shown)) + " |", "|---" * (len(shown) + 1) + "|",
           "| MiB | " + " | ".join(f"{resident[epoch]:.1f}" for epoch in shown) + " |"]


# Name, arguments of the tool; what stands in braces is made before.
FIRST = [
    ("evaluate", ["evaluate", "--model", "{model}", "--data", "glyphs:100"]),
    ("encode", ["encode", "--model", "{model}", "--data", "glyphs:100", "--output", "{output}"]),
    ("train", ["train", "{glyphs}"]),
    ("train, topk:8", ["train", "{glyphs}", "--code", "topk:8"]),
    ("train, jumprelu", ["train", "{glyphs}", "--code", "jumprelu"]),
    ("train, hardconcrete", ["train", "{glyphs}", "--code", "hardconcrete"]),
    ("train, 1024 latents, topk:8, sparse arithmetic",
     ["train", "{glyphs}", "--latents", "1024", "--code", "topk:8"]),
    ("segment predict", ["segment", "predict", "--model", "{segmenter}", "--images", "{images}", "--output", "{output}"]),
    ("segment pretrain", ["segment", "pretrain", "--images", "{images}", "{steps}"]),
    ("segment train", ["segment", "train", "--images", "{images}", "--labels", "{labels}", "{steps}"]),
]


def first(options, results):
    """The self-test before each command with nothing compiled, and the command with and without it."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        made = {name: [folder / name / "model.safetensors"] for name in ("model", "segmenter")}
        made |= {name: [folder / "drawn" / name] for name in ("images", "labels")}
        made["output"] = [folder / "output"]
        made["glyphs"] = ["--data", "glyphs:100", "--batch", 32, "--epochs", 1, "--output", folder / "output"]
        made["steps"] = ["--steps", 2, "--output", folder / "output"]

        def command(arguments):
            parts = [made.get(part.strip("{}"), [part]) if part.startswith("{") else [part] for part in arguments]
            return [options.sparrow, *sum(parts, []), "--device", options.device]

        def run(arguments, *more):
            """Its seconds, and those of the self-test where there was one."""
            caches, output = folder / "caches", folder / "output"
            for path in (caches, output):
                shutil.rmtree(path, ignore_errors=True)
            if output.is_file():
                output.unlink()
            variables = {name: str(caches / name) for name in ("POCL_CACHE_DIR", "SPARROW_CACHE_DIR")}
            for path in variables.values():
                Path(path).mkdir(parents=True)
            seconds, _ = timed([*command(arguments), *more], variables)
            verdicts = [json.loads(path.read_text())["verdict"] for path in caches.glob("*/self-test-*.json")]
            return seconds, *(verdict["passed"]["seconds"] for verdict in verdicts)

        timed([options.sparrow, "segment", "draw", "--count", 2, "--output", folder / "drawn"])
        for name, kind in (("model", "train"), ("segmenter", "segment train")):
            run(dict(FIRST)[kind])
            (folder / "output").rename(folder / name)
        for name, arguments in FIRST:
            say(f"first use: {name}")
            each = results[name] = {"self_test": [], "with": [], "without": []}
            for _ in range(options.repeats):
                seconds, self_test = run(arguments)
                each["self_test"].append(self_test)
                each["with"].append(seconds)
                each["without"].append(run(arguments, "--force-device")[0])
            yield None

    def spread(values):
        return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"

    yield ["## First use", "",
           f"The self-test of the operations that a command needs, before the first use of a device, and the command's "
           f"own time with and without it (`--force-device`), with nothing compiled before; 100 glyphs for an epoch, or "
           f"2 steps on drawn images; seconds, medians of {options.repeats} and extremes "
           f"(`python3 Benchmarks/trust.py --only first`).", "",
           "| command | self-test | command with it | without |", "|---|---|---|---|",
           *[f"| {name} | {spread(each['self_test'])} | {spread(each['with'])} | {spread(each['without'])} |"
             for name, each in results.items()]]


def disk(options, results):
    """A disk that fills up and one that becomes read-only, as small file systems in memory; needs root."""
    if os.geteuid() != 0:
        say("disk: left out, since only root can mount file systems")
        return
    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder) / "whole", Path(folder) / "small"
        small.mkdir()
        training = ["train", "--data", options.data, "--epochs", 3, "--device", options.device,
                    "--checkpoint-every", "40steps"]

        def tool(*arguments):
            done = subprocess.run([str(part) for part in [options.sparrow, *arguments]], stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True)
            return done.returncode, (done.stderr.strip().splitlines() or [""])[-1].replace(folder, "...")

        def mount(*arguments):
            subprocess.run(["mount", *map(str, arguments)], check=True)

        tool(*training, "--output", whole)
        # Room for one checkpoint and a half.
        mount("-t", "tmpfs", "-o", "size=2700k", "tmpfs", small)
        try:
            results["full"] = tool(*training, "--output", small / "run")
            results["full_leaves"] = sorted(path.name for path in (small / "run").iterdir())
            mount("-o", "remount,ro", small)
            results["read_only"] = tool("train", "--resume", small / "run", "--device", options.device)
            mount("-o", "remount,rw,size=20m", small)
            results["resumed"] = tool("train", "--resume", small / "run", "--device", options.device)
            results["identical"] = ((small / "run" / "model.safetensors").read_bytes()
                                    == (whole / "model.safetensors").read_bytes())
        finally:
            subprocess.run(["umount", str(small)], check=True)
    yield ["## Disks", "",
           "A run on a file system of 2.7 MB, which is then made read-only, and then larger "
           "(`python3 Benchmarks/trust.py --only disk`, as root).", "",
           "| | exit status | last line |", "|---|---|---|",
           *[f"| {what} | {results[key][0]} | `{results[key][1]}` |" for what, key in
             [("full", "full"), ("read-only, --resume", "read_only"), ("with room, --resume", "resumed")]], "",
           f"Left on the full disk: {', '.join(results['full_leaves'])}. The run's end is "
           f"{'the same as' if results['identical'] else 'NOT that of'} one on another disk."]


# In the order of the report. A section is a generator: it yields after each measurement, so that what there is is
# kept, its lines or None where there are none yet; `results` is its own part of the .json.
SECTIONS = {"kills": kills, "disk": disk, "overhead": overhead, "memory": memory, "first": first}


def write(path, everything):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(everything, indent=1) + "\n")
    facts = everything["machine"]
    lines = [f"# Trust, {path.stem.removeprefix('trust-')}", "",
             f"Commit {facts['sparrow']}, {facts['cpu']}, {facts['cores']} cores, "
             f"{'; '.join(facts.get('opencl', []))}.", ""]
    for name in SECTIONS:
        section = everything["sections"].get(name, {})
        own = section.get("lines", [])
        if own and section.get("commit", facts["sparrow"]) != facts["sparrow"]:
            own = [own[0], "", f"Commit {section['commit']}.", *own[1:]]
        lines += own + ([""] if section else [])
    path.with_suffix(".md").write_text("\n".join(lines).rstrip() + "\n")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=f"mnist:{ROOT / '..' / 'shared' / 'data' / 'mnist'}", help="default: %(default)s")
    parser.add_argument("--sparrow", type=Path, default=ROOT / ".build" / "release" / "sparrow")
    parser.add_argument("--device", default="auto", help="default: %(default)s")
    parser.add_argument("--kills", type=int, default=20, help="of each code (default: %(default)s)")
    parser.add_argument("--codes", help="only those of the codes, such as relu,topk")
    parser.add_argument("--pairs", type=int, default=48, help="of runs for the overhead (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=4, help="of all images, for the overhead; ten times as many of a tenth (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="of each first use (default: %(default)s)")
    parser.add_argument("--only", default=",".join(SECTIONS), help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=ROOT / "Benchmarks" / "results")
    options = parser.parse_args()
    options.data_name = options.data.split(":")[0].upper() if options.data.startswith("mnist") else options.data
    options.codes = options.codes.split(",") if options.codes else None
    if not os.access(options.sparrow, os.X_OK):
        parser.error(f"{options.sparrow} is not built; run 'make build'")
    path = options.output / f"trust-{datetime.date.today().isoformat()}"
    everything = {"machine": machine(options), "sections": {}}
    if path.with_suffix(".json").exists():
        everything["sections"] = json.loads(path.with_suffix(".json").read_text())["sections"]
    for name in options.only.split(","):
        if name not in SECTIONS:
            parser.error(f"--only: '{name}' is none of {', '.join(SECTIONS)}")
        section = everything["sections"].setdefault(name, {"results": {}})
        if section.get("commit") != everything["machine"]["sparrow"]:
            # What an earlier commit measured must not stand under this one's name.
            section = everything["sections"][name] = {"results": {}, "commit": everything["machine"]["sparrow"]}
        start = time.time()
        for lines in SECTIONS[name](options, section["results"]):
            if lines is not None:
                section["lines"] = lines
            section["seconds"] = time.time() - start
            write(path, everything)
    print(path.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
