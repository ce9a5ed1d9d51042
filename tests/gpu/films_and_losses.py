#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""films_and_losses.py DIR: whether the GPU's films, sound, text and losses in DIR are those of the CPU; losses are those of the
stages of recipe.json there. What is missing is told, too, and hides nothing else. Exit status 1 if something is wrong."""
import array
import json
import math
import os
import sys
import wave

FILM_PSNR = 40.0  # dB between the films, after 20 solver steps in f32 or bf16
LOSS_PART = 0.02  # of a loss, within the first 20 or 40 steps: rounding grows from step to step
FIRST_PART = 1e-4  # of the first loss


def decibels(power, error):
    return 10 * math.log10(power / error) if error else math.inf


def film(path):
    with open(path, "rb") as f:
        return f.readline(), f.read()


def film_psnr(folder, one, other, kind="film"):
    (h1, a), (h2, b) = film(f"{folder}/{kind}-{one}.y4m"), film(f"{folder}/{kind}-{other}.y4m")
    if h1 != h2 or len(a) != len(b) or not a:
        return 0.0
    return decibels(255 ** 2, sum((x - y) ** 2 for x, y in zip(a, b)) / len(a))


def samples(path):
    with wave.open(path, "rb") as f:
        return array.array("h", f.readframes(f.getnframes()))


def sound_psnr(folder):
    """Of full scale."""
    a, b = samples(f"{folder}/sound-cuda.wav"), samples(f"{folder}/sound-cpu.wav")
    if len(a) != len(b) or not any(b):
        return 0.0
    return decibels(32768 ** 2, sum((x - y) ** 2 for x, y in zip(a, b)) / len(a))


def losses(path):
    with open(path, encoding="utf-8") as f:
        lines = [json.loads(line) for line in f]
    return {line["step"]: line["loss"] for line in lines}


def check_film(folder, kind, name, what):
    psnr = film_psnr(folder, name, "cpu", kind)
    print(f"{kind}: {what} and CPU are {psnr:.1f} dB apart (at least {FILM_PSNR})")
    return psnr >= FILM_PSNR


def check_again(folder):
    same = film_psnr(folder, "tuned", "again") == math.inf
    print(f"film: by what was chosen and kept {'the same bits' if same else 'OTHER BITS'}")
    return same


def check_sound(folder):
    psnr = sound_psnr(folder)
    print(f"sound: GPU and CPU are {psnr:.1f} dB apart (at least {FILM_PSNR})")
    return psnr >= FILM_PSNR


def check_text(folder):
    texts = []
    for device in ("cuda", "cpu"):
        with open(f"{folder}/rewrite-{device}.txt", encoding="utf-8") as f:
            texts.append(f.read().strip())
    print(f"prompt: rewritten '{texts[0]}', by the CPU '{texts[1]}'")
    return texts[0] == texts[1] != ""


def check_stage(folder, stage):
    cpu, gpu = losses(f"{folder}/{stage}-cpu.jsonl"), losses(f"{folder}/{stage}-cuda.jsonl")
    worst = max(abs(gpu.get(i, math.inf) - x) / abs(x) for i, x in cpu.items())
    first = abs(gpu[min(gpu)] - cpu[min(cpu)]) / abs(cpu[min(cpu)])
    print(f"{stage}: losses differ by {worst:.2e} of them at most in {len(cpu)} steps, {first:.2e} in the first")
    return worst <= LOSS_PART and first <= FIRST_PART


def main():
    folder, bad = sys.argv[1], 0
    with open(os.path.join(folder, "recipe.json"), encoding="utf-8") as f:
        stages = [stage["name"] for stage in json.load(f)["stages"]]
    checks = [(check_film, "film", "cuda", "GPU"), (check_film, "film", "tuned", "GPU with products timed"),
              *((check_film, kind, "cuda", "GPU") for kind in ("edit", "upsample", "personalize")), (check_again,),
              (check_sound,), (check_text,), *((check_stage, stage) for stage in stages)]
    for check, *words in checks:
        try:
            good = check(folder, *words)
        except (OSError, EOFError, ValueError, KeyError, wave.Error) as error:  # it is not there, or not whole
            print(f"{' '.join([check.__name__[6:], *words])}: {error}")
            good = False
        bad += not good
    print(f"{len(checks) - bad} of {len(checks)} agree")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
