#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""merge.py DIR: what the groups of gpu.sh left in DIR, in summary.json (which has the counts) and RESULTS.md."""
import json
import os
import sys


def load(path):
    try:
        with open(path, encoding="utf-8") as f:
            return json.load(f)
    except (OSError, ValueError):
        return None


def main():
    folder = sys.argv[1]
    summary = load(os.path.join(folder, "summary.json")) or {}
    lines = [f"{summary.get('gpu') or 'unknown GPU'}: {summary.get('passed')} checks passed, {summary.get('failed')} failed, "
             f"{summary.get('skipped')} skipped.", ""]
    for group in ("bench", "bench-model"):
        summary[group] = load(os.path.join(folder, group + ".json"))
    table = os.path.join(folder, "bench-model.md")
    if summary["bench-model"] and os.path.exists(table):
        with open(table, encoding="utf-8") as f:
            lines.append(f.read())
    with open(os.path.join(folder, "summary.json"), "w", encoding="utf-8") as f:
        json.dump({k: v for k, v in summary.items() if v is not None}, f, indent=1)
    with open(os.path.join(folder, "RESULTS.md"), "w", encoding="utf-8") as f:
        f.write("\n".join(lines))


if __name__ == "__main__":
    main()
