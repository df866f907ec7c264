#!/usr/bin/env python3
"""Times gtc and Burn side by side on this machine's default adapter and prints Markdown tables.

Build both first:
    cargo build --release
    cargo build --release --manifest-path benches/peers/burn/Cargo.toml

    benches/peers/compare.py [train|NETWORK...] [conv]

Both by default; Burn's first steps through a CPU driver take minutes, that of vgg16 more than 15.
Networks: lenet-small, lenet5, vae-mlp, vgg16.
"""

import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GTC = os.environ.get("GTC", os.path.join(ROOT, "target/release/gtc"))
BURN = os.environ.get(
    "PEER_BURN", os.path.join(ROOT, "benches/peers/burn/target/release/peer-burn")
)
LIMIT = 900  # seconds a program may take
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


def train(networks):
    rows = []
    for network, batch in networks:
        arguments = ["bench", "train", "--model", network, "--batch-size", batch]
        text, peak = run([GTC] + arguments + ["--objective", "float", "--seconds", "2", "--json"])
        if text is None:
            sys.exit(f"gtc: {peak}")
        ours = json.loads(text)["rows"][0]
        times = [ours["times"]["milliseconds"], ours["times"]["fastest"]]
        first = ours["first_step_seconds"]
        rows.append(step_row(network, batch, "gtc", times, times, first, peak))
        for backend in ["flex", "wgpu"]:  # flex is near in speed, so near in time
            text, peak = run([BURN, backend, "train", network, batch])
            name = f"burn {backend}"
            if text is None:
                rows.append([network, batch, name, peak, "", "", "", "", ""])
                continue
            theirs = json.loads(text.splitlines()[-1])
            peer = [theirs["ms"], theirs["fastest_ms"]]
            first = theirs["first_step_seconds"]
            rows.append(step_row(network, batch, name, peer, times, first, peak))
    heads = ["network, float training", "batch", "engine", "step, ms", "fastest, ms", "images/s"]
    table(heads + ["first step, s", "peak, MiB", "gtc is faster by (fastest)"], rows)


def step_row(network, batch, engine, times, ours, first, peak):
    median, fastest = times
    ratios = f"{median / ours[0]:.2f} ({fastest / ours[1]:.2f})"
    return (
        [network, batch, engine, f"{median:.1f}", f"{fastest:.1f}", f"{1e3 * batch / median:.1f}"]
        + [f"{first:.2f}", peak >> 20, ratios]
    )


def conv():
    text, reason = run([GTC, "bench", "kernels", "--model", "vgg16", "--seconds", "1", "--json"])
    if text is None:
        sys.exit(f"gtc: {reason}")
    ours = {}
    for row in json.loads(text)["rows"]:
        # "32x16x16x128 -> 128, 3x3": the layers whose channels stay the same.
        size, outputs = row["shape"].split(" -> ")
        batch, height, width, channels = size.split("x")
        if outputs == f"{channels}, 3x3":
            name = f"3x3 {height}x{width}x{channels}"
            ours.setdefault(name, {})[row["kernel"]] = row["times"]["milliseconds"]
    rows = []
    for backend in ["flex", "wgpu"]:
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
    wanted = sys.argv[1:] or ["train", "conv"]
    known = [name for name, _ in NETWORKS] + ["train", "conv"]
    if any(name not in known for name in wanted):
        sys.exit(__doc__)
    networks = [pair for pair in NETWORKS if "train" in wanted or pair[0] in wanted]
    if networks:
        train(networks)
    if "conv" in wanted:
        conv()


main()
