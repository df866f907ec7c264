#!/usr/bin/env python3
"""Times gtc, Burn and PyTorch side by side on this machine and prints Markdown tables: gtc and Burn's wgpu on the default
adapter, Burn's flex and PyTorch on the CPU.

Build gtc and Burn first, and name a Python that has PyTorch, in the environment:
    cargo build --release
    cargo build --release --manifest-path benches/peers/burn/Cargo.toml
    python3 -m venv torch && torch/bin/pip install torch && export PEER_PYTHON=$PWD/torch/bin/python

    benches/peers/compare.py [--rounds N] [--without ENGINE]... [train|NETWORK...] [conv]

Engines: burn-flex, burn-wgpu, pytorch.

Both by default, once; of N rounds the median of the medians and the fastest step. Burn's first
steps through a CPU driver take minutes, that of vgg16 more than 15.
Networks: lenet-small, lenet5, vae-mlp, vgg16.
"""

import json
import os
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GTC = os.environ.get("GTC", os.path.join(ROOT, "target/release/gtc"))
BURN = os.environ.get(
    "PEER_BURN", os.path.join(ROOT, "benches/peers/burn/target/release/peer-burn")
)
PYTHON = os.environ.get("PEER_PYTHON", "python3")
LIMIT = 2400  # seconds a program may take
ENGINES = ["burn-flex", "burn-wgpu", "pytorch"]
NETWORKS = [("lenet-small", 64), ("lenet5", 64), ("vae-mlp", 128), ("vgg16", 32)]


def run(arguments):
    """Output of a program and the most memory it held, in bytes, or the reason there is none."""
    print("...", " ".join(map(str, arguments)), file=sys.stderr)
    command = ["/usr/bin/env", "python3", "-c", WRAPPER] + list(map(str, arguments))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return None, f"more than {LIMIT} s"
    if done.returncode:
        return None, "failed: " + (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    *_, peak = done.stderr.strip().splitlines()
    return done.stdout, int(peak)


# A process of its own knows the peak of its one child.
WRAPPER = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, file=sys.stderr)
sys.exit(code)
"""


def table(heads, rows):
    print("\n| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    sys.stdout.flush()


def train(networks, rounds, engines):
    rows = []
    for network, batch in networks:
        found = {engine: [] for engine in ["gtc", *engines]}
        # In turn, because a shared machine is faster at one time than at another.
        for _ in range(rounds):
            for engine, runs in found.items():
                if not any(isinstance(run, str) for run in runs):
                    runs.append(step(engine, network, batch))
        ours = None
        for engine, runs in found.items():
            failed = [run for run in runs if isinstance(run, str)]
            if failed:
                rows.append([network, batch, engine, failed[0], "", "", "", "", ""])
                continue
            medians, fastest, firsts, peaks = zip(*runs)
            times = [statistics.median(medians), min(fastest)]
            ours = ours or times
            ratios = f"{times[0] / ours[0]:.2f} ({times[1] / ours[1]:.2f})"
            rows.append(
                [network, batch, engine, f"{times[0]:.1f}", f"{times[1]:.1f}"]
                + [f"{1e3 * batch / times[0]:.1f}", f"{min(firsts):.2f}", max(peaks) >> 20, ratios]
            )
    heads = ["network, float training", "batch", "engine", "step, ms", "fastest, ms", "images/s"]
    table(heads + ["first step, s", "peak, MiB", "gtc is faster by (fastest)"], rows)


def step(engine, network, batch):
    """Median and fastest step in ms, seconds to the first one, peak memory; or why there is none."""
    if engine == "gtc":
        arguments = ["bench", "train", "--model", network, "--batch-size", batch]
        text, peak = run([GTC] + arguments + ["--objective", "float", "--seconds", "2", "--json"])
        if text is None:
            sys.exit(f"gtc: {peak}")
        row = json.loads(text)["rows"][0]
        times = row["times"]
        return times["milliseconds"], times["fastest"], row["first_step_seconds"], peak
    if engine == "pytorch":
        command = [PYTHON, os.path.join(ROOT, "benches/peers/pytorch.py")]
    else:
        command = [BURN, engine.removeprefix("burn-")]
    text, peak = run([*command, "train", network, batch])
    if text is None:
        return peak
    row = json.loads(text.splitlines()[-1])
    return row["ms"], row["fastest_ms"], row["first_step_seconds"], peak


def our_convolutions():
    """Milliseconds of each kernel of the layers of vgg16 whose channels stay the same, by their shape."""
    text, reason = run([GTC, "bench", "kernels", "--model", "vgg16", "--seconds", "1", "--json"])
    if text is None:
        sys.exit(f"gtc: {reason}")
    ours = {}
    for row in json.loads(text)["rows"]:
        # "32x16x16x128 -> 128, 3x3"
        size, outputs = row["shape"].split(" -> ")
        batch, height, width, channels = size.split("x")
        if outputs == f"{channels}, 3x3":
            name = f"3x3 {height}x{width}x{channels}"
            ours.setdefault(name, {})[row["kernel"]] = row["times"]["milliseconds"]
    return ours


def conv():
    rows = []
    for backend in ["flex", "wgpu"]:
        # Anew for each: a shared machine is faster at one time than at another.
        ours = our_convolutions()
        text, reason = run([BURN, backend, "conv", 32])
        if text is None:
            rows.append([reason, f"burn {backend}"] + [""] * 6)
            continue
        for line in text.splitlines():
            theirs = json.loads(line)
            mine = ours[theirs["what"]]
            forward, both = mine["forward"], sum(mine.values())
            rows.append(
                [theirs["what"], f"burn {backend}", f"{forward:.1f}"]
                + [f"{theirs['forward_ms']:.1f}", f"{theirs['forward_ms'] / forward:.2f}"]
                + [f"{both:.1f}", f"{theirs['forward_backward_ms']:.1f}"]
                + [f"{theirs['forward_backward_ms'] / both:.2f}"]
            )
    heads = ["convolution, N=32", "beside", "forward: gtc ms", "peer ms", "gtc is faster by"]
    table(heads + ["and backward: gtc ms", "peer ms", "gtc is faster by"], rows)


def main():
    wanted = sys.argv[1:]
    rounds = 1
    if wanted[:1] == ["--rounds"] and wanted[1:2] and wanted[1].isdigit():
        rounds = int(wanted[1])
        wanted = wanted[2:]
    engines = list(ENGINES)
    while wanted[:1] == ["--without"] and wanted[1:2] and wanted[1] in engines:
        engines.remove(wanted[1])
        wanted = wanted[2:]
    wanted = wanted or ["train", "conv"]
    known = [name for name, _ in NETWORKS] + ["train", "conv"]
    if any(name not in known for name in wanted):
        sys.exit(__doc__)
    networks = [pair for pair in NETWORKS if "train" in wanted or pair[0] in wanted]
    if networks:
        train(networks, rounds, engines)
    if "conv" in wanted:
        conv()


main()
