#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ceilings.py FILE [--small]: what PyTorch reaches on this GPU: bytes copied a second, and bf16 and f32 products of
16384 x 16384; printed, and as JSON in FILE. --small: tiny sizes, on the CPU, to test this program."""
import json
import statistics
import sys
import time

import torch


def seconds(work, cuda, runs=11):
    times = []
    for _ in range(runs + 2):
        if cuda:
            torch.cuda.synchronize()
        begun = time.perf_counter()
        work()
        if cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return statistics.median(times[2:])


def main():
    cuda = "--small" not in sys.argv
    device, count, n = ("cuda", 1 << 30, 16384) if cuda else ("cpu", 1 << 20, 64)
    x = torch.randn(count, device=device)
    y = torch.empty_like(x)
    found = {"device": torch.cuda.get_device_name() if cuda else "CPU", "PyTorch": torch.__version__,
             "copy, GB/s": 2 * x.numel() * 4 / seconds(lambda: y.copy_(x), cuda) * 1e-9}
    del x, y
    for dtype in (torch.bfloat16, torch.float32):
        a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
        found[f"product, {str(dtype)[6:]}, TFLOP/s"] = 2 * n ** 3 / seconds(lambda: a @ b, cuda, 5) * 1e-12
    print("# " + ", ".join(f"{k}: {v:.4g}" if isinstance(v, float) else f"{k}: {v}" for k, v in found.items()))
    with open(sys.argv[1], "w", encoding="utf-8") as f:
        json.dump(found, f)


if __name__ == "__main__":
    main()
