# SPDX-License-Identifier: MIT
"""Fits the weights of the checker of sounds and writes lib/eval/sound_weights.h.

    sound_weights.py BUILD [--codec FOLDER NAME] [--count N] [--print-only]

BUILD is a build folder with libmgi.a. Needs numpy and a C compiler. With a codec, a third of the sounds goes through it, so
that the checker hears what comes out of one as well. What is printed are rates of sounds that are not fitted to.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PLACES, MOODS, DECAY, STEPS = 6, 5, 3e-4, 1500
WAYS = ("as drawn", "spoiled", "through the codec")
# Features that hardly vary get no larger weights than those that vary by so much.
LEAST_DEVIATION = 0.15


def sounds(program, seed, count, codec):
    out = subprocess.run([program, str(seed), str(count)] + codec, check=True, capture_output=True, text=True).stdout
    return numpy.array([line.split() for line in out.splitlines()], dtype=float)


def fit(x, y, classes):
    """Multinomial logistic regression by Adam over all samples at once."""
    mean, deviation = x.mean(0), numpy.maximum(x.std(0), LEAST_DEVIATION)
    z = numpy.c_[(x - mean) / deviation, numpy.ones(len(x))]
    w = numpy.zeros((classes, z.shape[1]))
    m, v, target = numpy.zeros_like(w), numpy.zeros_like(w), numpy.eye(classes)[y]
    for t in range(1, STEPS + 1):
        p = z @ w.T
        p = numpy.exp(p - p.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        g = (p - target).T @ z / len(x) + DECAY * numpy.c_[w[:, :-1], numpy.zeros(classes)]
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w -= 0.05 * (m / (1 - 0.9**t)) / (numpy.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return numpy.c_[w[:, :-1] / deviation, w[:, -1] - (w[:, :-1] / deviation) @ mean]


def guess(weights, x):
    return (numpy.c_[x, numpy.ones(len(x))] @ weights.T).argmax(1)


def number(value):
    text = "%.4g" % value
    return (text if "." in text or "e" in text else text + ".0") + "f"


def write(path, place, mood):
    with open(path, "w", encoding="utf-8") as f:
        f.write("/* SPDX-License-Identifier: MIT\n"
                " * Written by scripts/sound_weights.py: do not edit. What the checker of sounds weighs its features with\n"
                " * (sound_look.h): a class is the one whose sum is the largest. The last weight of each is added as it is.\n"
                " * Tier 7. */\n"
                "#ifndef MGI_EVAL_SOUND_WEIGHTS_H\n#define MGI_EVAL_SOUND_WEIGHTS_H\n\n"
                '#include "eval/sound_look.h"\n\n/* clang-format off */\n')
        for name, count, rows in (("place", "BACKGROUNDS", place), ("mood", "MOODS", mood)):
            f.write(f"static const float {name}_weights[MGI_WORLD_{count}][MGI_LOOK_FEATURES + 1] = {{\n")
            for row in rows:
                words = [number(value) for value in row]
                lines = [", ".join(words[i:i + 12]) for i in range(0, len(words), 12)]
                f.write("    {" + ",\n     ".join(lines) + "},\n")
            f.write("};\n")
        f.write("/* clang-format on */\n\n#endif\n")


def rates(x, known, place, mood):
    for way, name in enumerate(WAYS):
        chosen = known[:, 4] == way
        if not chosen.any():
            continue
        p, m = guess(place, x[chosen]), guess(mood, x[chosen])
        truth = known[chosen]
        both = (m > 0) & (truth[:, 1] > 0)
        tempo = truth[numpy.arange(len(truth)), 5 + m]
        close = numpy.abs(tempo - truth[:, 2]) <= 0.04 * truth[:, 2]
        print(f"{name}: {len(p)} sounds: place {(p == truth[:, 0]).mean():.4f}, music "
              f"{((m > 0) == (truth[:, 1] > 0)).mean():.4f}, mood {(m == truth[:, 1]).mean():.4f}, tempo "
              f"{close[both].mean():.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--codec", nargs=2, default=[], metavar=("FOLDER", "NAME"))
    parser.add_argument("--count", type=int, default=6000)
    parser.add_argument("--print-only", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        program = os.path.join(scratch, "sound_features")
        subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-I", ROOT, "-I", f"{ROOT}/lib", "-I", f"{ROOT}/include",
                        f"{ROOT}/scripts/sound_features.c", f"{options.build}/libmgi.a", "-lm", "-lz", "-lpthread", "-ldl",
                        "-o", program], check=True)
        train = sounds(program, 101, options.count, options.codec)
        test = sounds(program, 102, options.count // 3, options.codec)
    known = 5 + MOODS
    place = fit(train[:, known:], train[:, 0].astype(int), PLACES)
    mood = fit(train[:, known:], train[:, 1].astype(int), MOODS)
    rates(test[:, known:], test[:, :known], place, mood)
    if not options.print_only:
        write(f"{ROOT}/lib/eval/sound_weights.h", place, mood)


if __name__ == "__main__":
    sys.exit(main())
