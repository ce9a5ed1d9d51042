#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ceilings.py FILE [--small]: what PyTorch reaches on this GPU: bytes copied a second, bf16, f32 and FP8 products of
16384 x 16384, and the convolutions that checkkernel --bench has for GPUs; printed, and as JSON in FILE. --small: tiny
sizes, on the CPU, to test this program."""
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F

# pictures, rows, columns, channels, columns of the kernel: large_pictures in tests/kernels/bench_cases.c
CONVOLUTIONS = [(2, 768, 768, 128, 3), (8, 384, 384, 256, 3), (8, 192, 192, 512, 3), (32, 96, 96, 512, 3),
                (1, 4, 768 * 768, 128, 1), (1, 8, 384 * 384, 256, 1), (1, 16, 192 * 192, 512, 1)]


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


def convolution(device, n, h, w, channels, kw):
    """-> forward and gradient of x, as functions: bf16, channels last; in time (kw 1) the first and last frame are repeated."""
    x = torch.randn(n, channels, h, w, device=device, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    weight = torch.randn(channels, channels, 3, kw, device=device, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    bias = torch.zeros(channels, device=device, dtype=torch.bfloat16)

    def forward():
        if kw == 1:
            return F.conv2d(torch.cat((x[:, :, :1], x, x[:, :, -1:]), 2), weight, bias)
        return F.conv2d(x, weight, bias, padding=1)

    dy = torch.randn_like(forward())
    return forward, lambda: torch.nn.grad.conv2d_input(x.shape, weight, dy, padding=(1, kw // 2))


def codes_product(device, n):
    """A product of FP8 codes with a scale for each row of A and B, as matmul_fp8 has; None where PyTorch has none."""
    a, b = (torch.randn(n, n, device=device).to(torch.float8_e4m3fn) for _ in range(2))
    scale = torch.ones(n, 1, device=device)

    def work():
        return torch._scaled_mm(a, b.t(), scale_a=scale, scale_b=scale.t(), out_dtype=torch.bfloat16)
    try:
        work()
    except (AttributeError, RuntimeError, NotImplementedError) as e:
        print(f"# no FP8 product by PyTorch: {str(e).splitlines()[0]}")
        return None
    return work


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
        del a, b
    codes = codes_product(device, n)
    if codes:
        found["product, FP8, TFLOP/s"] = 2 * n ** 3 / seconds(codes, cuda, 5) * 1e-12
    del codes
    for n, h, w, channels, kw in CONVOLUTIONS if cuda else [(2, 6, 5, 8, 3), (1, 4, 9, 8, 1)]:
        flops = 2 * n * h * w * channels * channels * 3 * kw
        works = convolution(device, n, h, w, channels, kw)
        for what, work in zip(("forward", "input"), works):
            found[f"convolution {n}x{h}x{w}x{channels}{' in time' if kw == 1 else ''} {what}, TFLOP/s"] = \
                flops / seconds(work, cuda, 5) * 1e-12
        del works
    print("# " + ", ".join(f"{k}: {v:.4g}" if isinstance(v, float) else f"{k}: {v}" for k, v in found.items()))
    with open(sys.argv[1], "w", encoding="utf-8") as f:
        json.dump(found, f)


if __name__ == "__main__":
    main()
