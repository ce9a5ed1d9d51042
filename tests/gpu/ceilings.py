#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What PyTorch reaches on this GPU: bytes copied a second, and bf16 and f32 products of 16384 x 16384."""
import statistics

import torch


def seconds(work, runs=11):
    times = []
    for _ in range(runs + 2):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e-3)
    return statistics.median(times[2:])


def main():
    x = torch.randn(1 << 30, device="cuda")
    y = torch.empty_like(x)
    print(f"# {torch.cuda.get_device_name()}, PyTorch {torch.__version__}")
    print(f"# copy: {2 * x.numel() * 4 / seconds(lambda: y.copy_(x)) * 1e-9:.0f} GB/s")
    del x, y
    n = 16384
    for dtype in (torch.bfloat16, torch.float32):
        a, b = (torch.randn(n, n, device="cuda", dtype=dtype) for _ in range(2))
        print(f"# product, {dtype}: {2 * n ** 3 / seconds(lambda: a @ b, 5) * 1e-12:.0f} TFLOP/s")


if __name__ == "__main__":
    main()
