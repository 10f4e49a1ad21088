"""Kills a training run at random moments and goes on with it, again and again, and compares how it ends.

    kill_and_resume.py --kills 20 -- --data mnist:mnist --code topk:16 --epochs 10

What follows `--` are arguments of `sparrow train` (or `sparrow segment train`, `sparrow sweep` and the like with --verb).
One run is left alone. Others are ended with SIGKILL after random times and resumed, until so many kills have been survived; each
of them must end with the same bytes of model.safetensors, and of metrics.csv but for the columns of times.
"""

import argparse
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from run import ROOT, say, stop

TIMES = {"seconds", "samples_per_second"}


def figures(folder):
    """The rows of metrics.csv without its columns of times."""
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.reader(file))
    kept = [i for i, name in enumerate(rows[0]) if name not in TIMES]
    return [[row[i] for i in kept] for row in rows]


def results(folder):
    """What runs must agree in: of each model, of which a sweep has several, the file and the figures."""
    models = sorted(path.relative_to(folder) for path in folder.rglob("model.safetensors"))
    return [(model, (folder / model).read_bytes(), figures((folder / model).parent)) for model in models]


class Runs:
    def __init__(self, sparrow, verb, arguments, device, every, folder):
        self.sparrow, self.verb, self.device, self.every = sparrow, list(verb), device, every
        self.arguments, self.folder = arguments, Path(folder)
        self.generator = random.Random(7)

    def start(self, run, resumes=False):
        command = [self.sparrow, *self.verb]
        # A sweep goes on by the same command.
        resumes = resumes and self.verb != ["sweep"]
        command += ["--resume", run] if resumes else [*self.arguments, "--output", run]
        command += ["--device", self.device, "--checkpoint-every", self.every]
        return subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def finish(self, process):
        errors = process.communicate()[1]
        if process.returncode != 0:
            stop(f"exit status {process.returncode} from {' '.join(process.args)}\n{errors[-2000:]}")

    def kill_until_done(self, run, kills, longest):
        """Kills at most `kills` times; how often, and how often there was a checkpoint to go on from."""
        done = resumed = 0
        while True:
            goes_on = (run / "checkpoint.safetensors").exists() \
                or (run / "checkpoint.previous.safetensors").exists()
            if not goes_on and run.exists():
                shutil.rmtree(run)
            resumed += goes_on
            process = self.start(run, resumes=goes_on)
            if done == kills:
                self.finish(process)
                return done, resumed
            try:
                process.wait(timeout=self.generator.uniform(0, longest))
                self.finish(process)
                return done, resumed
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                done += 1

    def measure(self, kills):
        whole = self.folder / "whole"
        start = time.perf_counter()
        self.finish(self.start(whole))
        seconds = time.perf_counter() - start
        survived = resumed = runs = identical = 0
        while survived < kills:
            run = self.folder / f"run{runs}"
            # Six to a run on average: the runs are short, and most kills shall be in mid-training.
            done, again = self.kill_until_done(run, kills - survived, max(1.0, seconds / 3))
            identical += results(run) == results(whole) != []
            runs, survived, resumed = runs + 1, survived + done, resumed + again
            shutil.rmtree(run)
        return {"arguments": " ".join(map(str, self.arguments)).replace(f"{ROOT}/", ""), "seconds": seconds, "kills": survived,
                "resumed": resumed, "runs": runs, "identical": identical}


def kill_and_resume(sparrow, arguments, kills=20, verb=("train",), device="auto", every="0.2s"):
    with tempfile.TemporaryDirectory(prefix="sparrow-kill-") as folder:
        return Runs(sparrow, verb, arguments, device, every, folder).measure(kills)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sparrow", type=Path, default=ROOT / ".build" / "release" / "sparrow")
    parser.add_argument("--kills", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--verb", default="train", help="such as 'segment pretrain' (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="default: %(default)s")
    parser.add_argument("--checkpoint-every", default="0.2s", help="default: %(default)s")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="after --: of the training")
    options = parser.parse_args()
    if not os.access(options.sparrow, os.X_OK):
        parser.error(f"{options.sparrow} is not built; run 'make build'")
    arguments = [part for part in options.arguments if part != "--"]
    result = kill_and_resume(options.sparrow, arguments, options.kills, options.verb.split(),
                             options.device, options.checkpoint_every)
    say(f"{result['kills']} kills, {result['resumed']} resumptions, {result['runs']} runs, of which "
        f"{result['identical']} ended as the one left alone ({result['seconds']:.1f} s)")
    sys.exit(0 if result["identical"] == result["runs"] else 1)


if __name__ == "__main__":
    main()
