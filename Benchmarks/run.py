"""Measures Sparrow beside other systems, on one machine in one run, interleaved.

Machines differ and are noisy, so what counts is the ratios within one run. In every round each
system trains once, with that round's seed; the rounds of matmul alternate in the same way. The
results go into Benchmarks/results/<date>.md, and everything measured into the .json beside it.

A peer that is not installed is left out, and named: `--with-peers` installs PyTorch, Keras and JAX
from Python packages into environments under .build-peers/ (7 GB), and OpenBLAS from the system's.
"""

import argparse
import csv
import datetime
import hashlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "Benchmarks" / "peers"

# What each training peer installs.
PEERS = {
    "torch": ["torch", "numpy"],
    "keras": ["tensorflow-cpu"],
    "jax": ["jax[cpu]", "optax", "numpy"],
}

# The products of the seed's network at batch 256, and squares.
SHAPES = [
    "256x64x784", "256x64x64", "256x784x64", "784x64x256,ta", "512x512x512", "1024x1024x1024",
    "2048x2048x2048",
]

# What the project promises of one run; see `verdicts`.
MSE_LIMIT = 0.0062
EPOCH_LIMIT = 0.30
MEMORY_LIMIT_MB = 400


def say(message):
    print(f"benchmark: {message}", file=sys.stderr, flush=True)


def stop(message):
    sys.exit(f"benchmark: error: {message}")


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / ".." / "shared" / "data" / "mnist",
                        help="the folder with MNIST's four files (default: %(default)s)")
    parser.add_argument("--sparrow", type=Path, default=ROOT / ".build" / "release" / "sparrow")
    parser.add_argument("--device", default="auto", help="Sparrow's device (default: %(default)s)")
    parser.add_argument("--seeds", default="1,2,3", help="one round each (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=50, help="default: %(default)s")
    parser.add_argument("--matmul-rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--only", default="training,matmul",
                        help="training, matmul or both (default: %(default)s)")
    parser.add_argument("--peers", default=",".join(PEERS),
                        help="which peers train (default: %(default)s; none: '')")
    parser.add_argument("--peers-dir", type=Path, default=ROOT / ".build-peers",
                        help="holds an environment for each peer, named like it")
    parser.add_argument("--with-peers", action="store_true", help="install the peers first")
    parser.add_argument("--output", type=Path, default=ROOT / "Benchmarks" / "results")
    parser.add_argument("--strict", action="store_true",
                        help="exit with status 1 when a promise is not kept")
    options = parser.parse_args()
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    options.only = options.only.split(",")
    options.peers = [peer for peer in options.peers.split(",") if peer]
    for given, known, flag in [(options.only, ["training", "matmul"], "--only"),
                               (options.peers, PEERS, "--peers")]:
        for name in given:
            if name not in known:
                parser.error(f"{flag}: '{name}' is none of {', '.join(known)}")
    if not os.access(options.sparrow, os.X_OK):
        parser.error(f"{options.sparrow} is not built; run 'make build'")
    if "training" in options.only and not options.data.is_dir():
        parser.error(f"{options.data} does not exist; 'sparrow fetch mnist --to DIR', then --data DIR")
    return options


# Running programs ---------------------------------------------------------------------------------


def measured(command):
    """Runs a program: its standard output, wall-clock seconds, and peak resident memory in MB."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        output.seek(0)
        text = output.read().decode(errors="replace")
        if process.returncode != 0:
            errors.seek(0)
            tail = (errors.read().decode(errors="replace") + text)[-2000:]
            stop(f"exit status {process.returncode} from {' '.join(map(str, command))}\n{tail}")
    # Linux counts in KiB, macOS in bytes.
    scale = 1 if sys.platform == "darwin" else 1024
    return text, seconds, usage.ru_maxrss * scale / 1e6


def json_object(text):
    """The object a program printed; peers may have printed lines before it."""
    return json.loads(text if text.lstrip().startswith("{") else text.strip().splitlines()[-1])


def environment_python(options, peer):
    return options.peers_dir / peer / "bin" / "python"


def install_peers(options):
    for peer in options.peers:
        python = environment_python(options, peer)
        packages = PEERS[peer]
        # The marker is written last, so a broken installation is started over.
        marker = options.peers_dir / peer / "installed.txt"
        if marker.exists():
            continue
        say(f"installing {' '.join(packages)} into {python.parent.parent}")
        shutil.rmtree(options.peers_dir / peer, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", options.peers_dir / peer], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                        *packages], check=True)
        marker.write_text("\n".join(packages) + "\n")


# Training -----------------------------------------------------------------------------------------


def train_sparrow(options, run, seed, epochs):
    """Trains once, with the defaults but for the seed; evaluates on the test images."""
    data = f"mnist:{options.data}"
    _, wall, memory = measured([
        options.sparrow, "train", "--data", data, "--epochs", epochs, "--seed", seed,
        "--device", options.device, "--output", run])
    model = run / "model.safetensors"
    with open(run / "metrics.csv", newline="") as file:
        epoch_seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
    evaluation = json_object(measured([
        options.sparrow, "evaluate", "--model", model, "--data", data,
        "--device", options.device, "--json"])[0])
    return {
        "system": "Sparrow", "seed": seed, "mse": evaluation["mse"], "epoch_seconds": epoch_seconds,
        "wall_seconds": wall, "peak_memory_mb": memory, "device": evaluation["device"],
        "evaluation": evaluation, "model_sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
    }


def train_peer(options, peer, seed):
    text, wall, memory = measured([
        environment_python(options, peer), SCRIPTS / f"{peer}_autoencoder.py",
        "--data", options.data, "--epochs", options.epochs, "--seed", seed])
    return json_object(text) | {"seed": seed, "wall_seconds": wall, "peak_memory_mb": memory}


def measure_training(options):
    peers = []
    for peer in options.peers:
        if environment_python(options, peer).exists():
            peers.append(peer)
        else:
            say(f"{peer} is left out: it is not installed; --with-peers installs it")
    results = []

    def record(result):
        results.append(result)
        say(f"{result['system']}, seed {result['seed']}: MSE {result['mse']:.5f}, "
            f"median epoch {statistics.median(result['epoch_seconds']):.3f} s")

    with tempfile.TemporaryDirectory(prefix="sparrow-bench-") as folder:
        folder = Path(folder)
        # Compiles and tunes the kernels where no earlier run has: once per machine.
        train_sparrow(options, folder / "warm-up", options.seeds[0], 1)
        for seed in options.seeds:
            record(train_sparrow(options, folder / f"seed-{seed}", seed, options.epochs))
            for peer in peers:
                record(train_peer(options, peer, seed))
        repeated = train_sparrow(options, folder / "repeated", options.seeds[0], options.epochs)
        same = (folder / "repeated" / "model.safetensors").read_bytes() == (
            folder / f"seed-{options.seeds[0]}" / "model.safetensors").read_bytes()
    return {"runs": results, "repeated": repeated, "repeated_is_identical": same,
            "left_out": [peer for peer in options.peers if peer not in peers]}


def training_summary(training):
    """One row for each system, in the order of their first runs."""
    rows = []
    for system in dict.fromkeys(run["system"] for run in training["runs"]):
        runs = [run for run in training["runs"] if run["system"] == system]
        rows.append({
            "system": system,
            "epoch": statistics.median(s for run in runs for s in run["epoch_seconds"]),
            "fastest": min(s for run in runs for s in run["epoch_seconds"]),
            "mse": [run["mse"] for run in runs],
            "memory": max(run["peak_memory_mb"] for run in runs),
            "wall": statistics.median(run["wall_seconds"] for run in runs),
        })
    return rows


# Matmul -------------------------------------------------------------------------------------------


def shape_name(result):
    flags = (",ta" if result["transpose_a"] else "") + (",tb" if result["transpose_b"] else "")
    return f"{result['m']}x{result['n']}x{result['k']}{flags}"


def measure_matmul(options):
    """Rounds in turn; of each shape and system, GFLOPS of every round."""
    sparrow = [options.sparrow, "bench", "matmul", "--json", "--device", options.device]
    for shape in SHAPES:
        sparrow += ["--shape", shape]
    openblas = [sys.executable, SCRIPTS / "openblas_matmul.py", *SHAPES]
    if subprocess.run([sys.executable, str(SCRIPTS / "openblas_matmul.py")],
                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
        say("OpenBLAS is left out: there is no libopenblas; --with-peers installs it")
        openblas = None
    measured(sparrow)  # compiles and tunes

    gflops = {shape: {"sparrow": [], "openblas": []} for shape in SHAPES}
    names = {}
    peaks = []
    for number in range(options.matmul_rounds):
        say(f"matmul, round {number + 1} of {options.matmul_rounds}")
        report = json_object(measured(sparrow)[0])
        names["sparrow"] = report["device"]
        peaks.append(report["peak_gflops"])
        for result in report["results"]:
            gflops[shape_name(result)]["sparrow"].append(result["gflops"])
        if openblas:
            report = json_object(measured(openblas)[0])
            names["openblas"] = report["system"]
            for result in report["results"]:
                gflops[shape_name(result)]["openblas"].append(result["gflops"])
    return {"names": names, "peak_gflops": peaks, "gflops": gflops}


def matmul_limit(shape):
    return 0.8 if shape.startswith("2048") else 1.0


# The report ---------------------------------------------------------------------------------------


def machine(options):
    """What the numbers depend on."""
    facts = {"date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
             "system": platform.platform(), "cores": os.cpu_count(), "cpu": platform.processor()}
    try:
        facts["cores"] = len(os.sched_getaffinity(0))
    except AttributeError:
        pass
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line]
        fields = {key.strip(): value.strip() for key, value in lines}
        facts["cpu"] = (f"{fields.get('model name', platform.machine())}"
                        f" (family {fields.get('cpu family', '?')}, model {fields.get('model', '?')})")
    facts["memory_gb"] = round(
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    facts["load_at_start"] = os.getloadavg()[0]
    probe = ROOT / ".build-setup" / "opencl-probe"
    if probe.exists():
        answer = subprocess.run([probe], capture_output=True, text=True).stdout
        facts["opencl"] = [" ".join(line.split("\t")[1:]) for line in answer.splitlines()]
    revision = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"],
                              capture_output=True, text=True)
    facts["sparrow"] = revision.stdout.strip() or "unknown"
    return facts


def verdicts(options, training, matmul):
    """(what is promised, what was measured, whether that keeps it)."""
    rows = []
    if training:
        summary = training_summary(training)
        ours = summary[0]
        worst = max(ours["mse"])
        if options.epochs == 50:
            rows.append((f"test MSE at most {MSE_LIMIT} after 50 epochs, every seed",
                         f"{worst:.5f} at worst", worst <= MSE_LIMIT))
        rows.append((f"median epoch at most {EPOCH_LIMIT:.2f} s", f"{ours['epoch']:.3f} s",
                     ours["epoch"] <= EPOCH_LIMIT))
        for name, factor in [("PyTorch", 2.9), ("Keras", 4.0)]:
            for peer in summary:
                if peer["system"].startswith(name):
                    ratio = peer["epoch"] / ours["epoch"]
                    rows.append((f"{factor} times as fast as {name}", f"{ratio:.1f} times",
                                 ratio >= factor))
        rows.append((f"peak memory under {MEMORY_LIMIT_MB} MB", f"{ours['memory']:.0f} MB",
                     ours["memory"] < MEMORY_LIMIT_MB))
        rows.append(("two runs with one seed leave identical model files",
                     "identical" if training["repeated_is_identical"] else "they differ",
                     training["repeated_is_identical"]))
    if matmul:
        for shape, rounds in matmul["gflops"].items():
            if rounds["openblas"]:
                ratio = max(rounds["sparrow"]) / max(rounds["openblas"])
                rows.append((f"matmul {shape}: at least {matmul_limit(shape)} of OpenBLAS",
                             f"{ratio:.2f}", ratio >= matmul_limit(shape)))
    return rows


def markdown(options, facts, training, matmul):
    lines = [f"# Benchmarks, {facts['date'][:10]}", "",
             "Made by `make bench`: every system in turn on one machine, so compare within this page.",
             "", f"- {facts['cpu']}, {facts['cores']} cores, {facts['memory_gb']} GB; "
             f"{facts['system']}; load {facts['load_at_start']:.1f} at the start",
             *(f"- OpenCL: {device}" for device in facts.get("opencl", [])),
             f"- Sparrow {facts['sparrow']}", ""]
    if training:
        summary = training_summary(training)
        ours = summary[0]["epoch"]
        seeds = ", ".join(map(str, options.seeds))
        lines += ["## The seed's autoencoder on MNIST: 784-64-64-64-784, Adam 1e-3, batch 256", "",
                  f"{options.epochs} epochs; seeds {seeds}; Sparrow on {training['runs'][0]['device']}.", "",
                  "| system | median epoch | times Sparrow's | fastest epoch | test MSE of each seed | peak memory "
                  "| whole run |",
                  "|---|---|---|---|---|---|---|"]
        for row in summary:
            errors = ", ".join(f"{mse:.5f}" for mse in row["mse"])
            lines.append(f"| {row['system']} | {row['epoch']:.3f} s | {row['epoch'] / ours:.1f} "
                         f"| {row['fastest']:.3f} s | {errors} "
                         f"| {row['memory']:.0f} MB | {row['wall']:.1f} s |")
        lines += [f"\nNot installed, so left out: {', '.join(training['left_out'])}."
                  ] if training["left_out"] else []
        lines.append("")
    if matmul:
        names = matmul["names"]
        lines += ["## Single-precision matmul, GFLOPS (C = A*B, row-major, m x n x k)", "",
                  f"Best of {options.matmul_rounds} alternating rounds (median in brackets). "
                  f"Sparrow on {names['sparrow']}, whose measured peak is "
                  f"{max(matmul['peak_gflops']):.0f}; {names.get('openblas', 'OpenBLAS is not installed')}.",
                  "", "| shape | Sparrow | OpenBLAS | ratio of bests |", "|---|---|---|---|"]
        for shape, rounds in matmul["gflops"].items():
            ours, theirs = rounds["sparrow"], rounds["openblas"]
            name = shape.replace("x", " x ").replace(",ta", ", A transposed").replace(
                ",tb", ", B transposed")
            cells = [f"{max(gflops):.0f} ({statistics.median(gflops):.0f})" if gflops else "-"
                     for gflops in (ours, theirs)]
            ratio = f"{max(ours) / max(theirs):.2f}" if theirs else "-"
            lines.append(f"| {name} | {cells[0]} | {cells[1]} | {ratio} |")
        lines.append("")
    lines += ["## What was promised", "", "| promise | measured | kept |", "|---|---|---|"]
    lines += [f"| {promise} | {value} | {'yes' if kept else '**no**'} |"
              for promise, value, kept in verdicts(options, training, matmul)]
    return "\n".join(lines) + "\n"


def unused(folder, date):
    """The first of DATE.md, DATE-2.md, ... that does not exist: no result is overwritten."""
    number = 1
    while True:
        path = folder / (f"{date}.md" if number == 1 else f"{date}-{number}.md")
        if not path.exists():
            return path
        number += 1


def main():
    options = parse_arguments()
    if options.with_peers:
        install_peers(options)
    facts = machine(options)
    training = measure_training(options) if "training" in options.only else None
    matmul = measure_matmul(options) if "matmul" in options.only else None

    page = markdown(options, facts, training, matmul)
    options.output.mkdir(parents=True, exist_ok=True)
    path = unused(options.output, facts["date"][:10])
    path.write_text(page)
    path.with_suffix(".json").write_text(
        json.dumps({"machine": facts, "training": training, "matmul": matmul}, indent=1) + "\n")
    print(page)
    say(f"written to {path} and {path.with_suffix('.json').name}")
    kept = all(kept for _, _, kept in verdicts(options, training, matmul))
    sys.exit(1 if options.strict and not kept else 0)


if __name__ == "__main__":
    main()
