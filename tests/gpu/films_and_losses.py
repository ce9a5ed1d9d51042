#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""films_and_losses.py DIR: whether the GPU's films and losses in DIR are those of the CPU. Exit status 1 if they are not."""
import json
import math
import sys

FILM_PSNR = 40.0  # dB between the films, after 20 solver steps in f32 or bf16
LOSS_PART = 0.02  # of a loss, within the first 20 or 40 steps: rounding grows from step to step


def luma(path):
    with open(path, "rb") as f:
        header = f.readline()
        size = {word[:1]: int(word[1:]) for word in header.split() if word[:1] in (b"W", b"H")}
        data = f.read()
    return header, size, data


def film_psnr(folder, one, other, kind="film"):
    (h1, _, a), (h2, _, b) = luma(f"{folder}/{kind}-{one}.y4m"), luma(f"{folder}/{kind}-{other}.y4m")
    if h1 != h2 or len(a) != len(b):
        return 0.0
    error = sum((x - y) ** 2 for x, y in zip(a, b)) / max(len(a), 1)
    return 10 * math.log10(255 ** 2 / error) if error else math.inf


def losses(path):
    with open(path) as f:
        lines = [json.loads(line) for line in f]
    return {line["step"]: line["loss"] for line in lines}


def main():
    folder, bad = sys.argv[1], 0
    for film, what in (("cuda", "GPU"), ("tuned", "GPU with products timed")):
        psnr = film_psnr(folder, film, "cpu")
        print(f"film: {what} and CPU are {psnr:.1f} dB apart (at least {FILM_PSNR})")
        bad += not psnr >= FILM_PSNR
    for kind in ("edit", "upsample", "personalize"):
        psnr = film_psnr(folder, "cuda", "cpu", kind)
        print(f"{kind}: GPU and CPU are {psnr:.1f} dB apart (at least {FILM_PSNR})")
        bad += not psnr >= FILM_PSNR
    same = film_psnr(folder, "tuned", "again") == math.inf
    print(f"film: by what was chosen and kept {'the same bits' if same else 'OTHER BITS'}")
    bad += not same
    for stage in ("tae", "video", "gan", "diffusion", "editor", "personalizer", "codec", "sound"):
        cpu, gpu = losses(f"{folder}/{stage}-cpu.jsonl"), losses(f"{folder}/{stage}-cuda.jsonl")
        worst = max(abs(gpu.get(i, math.inf) - x) / x for i, x in cpu.items())
        first = abs(gpu[min(gpu)] - cpu[min(cpu)]) / cpu[min(cpu)]
        print(f"{stage}: losses differ by {worst:.2e} of them at most in {len(cpu)} steps, {first:.2e} in the first")
        bad += not worst <= LOSS_PART or not first <= 1e-4
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
