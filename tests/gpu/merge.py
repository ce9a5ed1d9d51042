#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""merge.py DIR: what the groups of gpu.sh left in DIR, in summary.json (which has the counts) and RESULTS.md."""
import json
import os
import sys


def load(path):
    try:
        with open(path, encoding="utf-8") as f:
            text = f.read().rstrip().rstrip(",")
    except OSError:
        return None
    for end in ("", "]}"):  # checkkernel's list, if it was interrupted
        try:
            return json.loads(text + end)
        except ValueError:
            pass
    return None


def ceilings_text(found):
    return ", ".join(f"{k}: {v:.4g}" if isinstance(v, float) else f"{k}: {v}" for k, v in found.items())


def ops_table(bench, copy):
    """Each case of an op with the times of its variants, the fastest first; what that moves and computes; and how much of
    the copy rate that is."""
    cases = {}
    for t in bench["times"]:
        cases.setdefault((t["op"], t["case"]), []).append(t)
    lines = ["| op | case | ms | GB/s | TFLOP/s | of the copy rate |", "|---|---|---|---|---|---|"]
    for (op, case), times in cases.items():
        times.sort(key=lambda t: t["seconds"])
        rate, flops = (times[0][what] / times[0]["seconds"] for what in ("bytes", "flops"))
        each = ", ".join(f"{t['variant']} {t['seconds'] * 1e3:.3f}" for t in times)
        share = f"{rate * 1e-7 / copy:.0f} %" if copy else ""
        lines.append(f"| {op} | {case} | {each} | {rate * 1e-9:.0f} | {flops * 1e-12:.1f} | {share} |")
    return "\n".join(lines) + "\n"


def main():
    folder = sys.argv[1]
    summary = load(os.path.join(folder, "summary.json")) or {}
    lines = [f"{summary.get('gpu') or 'unknown GPU'}: {summary.get('passed')} checks passed, {summary.get('failed')} failed, "
             f"{summary.get('skipped')} skipped.", ""]
    for group in ("ceilings", "bench", "bench-model"):
        summary[group] = load(os.path.join(folder, group + ".json"))
    for name in sorted(os.listdir(folder)):  # of --quick: an op by itself
        if name.startswith("ops-") and name.endswith(".json"):
            times = (load(os.path.join(folder, name)) or {}).get("times", [])
            summary["bench"] = summary["bench"] or {"times": []}
            summary["bench"]["times"] += times
    if summary["ceilings"]:
        lines += ["Ceilings: " + ceilings_text(summary["ceilings"]) + ".", ""]
    table = os.path.join(folder, "bench-model.md")
    if summary["bench-model"] and os.path.exists(table):
        with open(table, encoding="utf-8") as f:
            lines.append(f.read())
    if summary["bench"]:
        lines.append(ops_table(summary["bench"], (summary["ceilings"] or {}).get("copy, GB/s")))
    with open(os.path.join(folder, "summary.json"), "w", encoding="utf-8") as f:
        json.dump({k: v for k, v in summary.items() if v is not None}, f, indent=1)
    with open(os.path.join(folder, "RESULTS.md"), "w", encoding="utf-8") as f:
        f.write("\n".join(lines))


if __name__ == "__main__":
    main()
