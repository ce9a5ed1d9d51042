# SPDX-License-Identifier: MIT
"""Fits the weights of the checker of sounds and writes lib/eval/sound_weights.h and sound_onset_weights.h.

    sound_weights.py BUILD [--codec FOLDER NAME] [--count N] [--print-only]

BUILD is a build folder with libmgi.a. Needs numpy and a C compiler. With a codec, a third of the sounds goes through it, so
that the checker hears what comes out of one as well. Impacts are fitted first: run it again for places and music that do not
hear them as notes. What is printed are rates of sounds that are not fitted to.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# As in lib/eval/sound_look.h.
PLACES, MOODS, FEATURES, ONSET_FEATURES = 6, 5, 108, 82
STEPS = 1000
WAYS = ("as drawn", "spoiled", "through the codec")
# Features that hardly vary get no larger weights than those that vary by so much.
LEAST_DEVIATION = 0.15


def measure(program, scratch, seed, count, codec):
    """Rows of sounds, and rows of frames."""
    out = os.path.join(scratch, str(seed))
    subprocess.run([program, out, str(seed), str(count)] + codec, check=True)
    return tuple(numpy.fromfile(f"{out}.{kind}", dtype=numpy.float32).reshape(-1, width)
                 for kind, width in (("sounds", 5 + MOODS + FEATURES), ("frames", 2 + ONSET_FEATURES)))


def fit(x, y, classes, decay):
    """Multinomial logistic regression by Adam over all samples at once."""
    x = x.astype(numpy.float64)
    mean, deviation = x.mean(0), numpy.maximum(x.std(0), LEAST_DEVIATION)
    z = numpy.c_[(x - mean) / deviation, numpy.ones(len(x))].astype(numpy.float32)
    w = numpy.zeros((classes, z.shape[1]))
    m, v, target = numpy.zeros_like(w), numpy.zeros_like(w), numpy.eye(classes, dtype=numpy.float32)[y]
    for t in range(1, STEPS + 1):
        p = z @ w.T.astype(numpy.float32)
        p = numpy.exp(p - p.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        g = (p - target).T @ z / len(x) + decay * numpy.c_[w[:, :-1], numpy.zeros(classes)]
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w -= 0.05 * (m / (1 - 0.9**t)) / (numpy.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return numpy.c_[w[:, :-1] / deviation, w[:, -1] - (w[:, :-1] / deviation) @ mean]


def guess(weights, x):
    return (numpy.c_[x, numpy.ones(len(x))] @ weights.T).argmax(1)


def number(value):
    text = "%.4g" % value
    return (text if "." in text or "e" in text else text + ".0") + "f"


def write(name, tables):
    guard = f"MGI_EVAL_{name.upper()}_H"
    with open(f"{ROOT}/lib/eval/{name}.h", "w", encoding="utf-8") as f:
        f.write("/* SPDX-License-Identifier: MIT\n"
                " * Written by scripts/sound_weights.py: do not edit. What the checker of sounds weighs its features with\n"
                " * (sound_look.h). The last weight of each row is added as it is. Tier 7. */\n"
                f'#ifndef {guard}\n#define {guard}\n\n#include "eval/sound_look.h"\n\n/* clang-format off */\n')
        for declared, rows in tables:
            f.write(f"static const float {declared} = {{\n")
            for row in numpy.atleast_2d(rows):
                words = [number(value) for value in row]
                lines = [", ".join(words[i:i + 12]) for i in range(0, len(words), 12)]
                one = rows.ndim == 1
                f.write(("     " if one else "    {") + ",\n     ".join(lines) + ("\n" if one else "},\n"))
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
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--print-only", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        program = os.path.join(scratch, "sound_features")
        subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-I", ROOT, "-I", f"{ROOT}/lib", "-I", f"{ROOT}/include",
                        f"{ROOT}/scripts/sound_features.c", f"{options.build}/libmgi.a", "-lm", "-lz", "-lpthread", "-ldl",
                        "-o", program], check=True)
        train, frames = measure(program, scratch, 101, options.count, options.codec)
        test, _ = measure(program, scratch, 102, options.count // 3, options.codec)
    known = 5 + MOODS
    place = fit(train[:, known:], train[:, 0].astype(int), PLACES, 1e-3)
    mood = fit(train[:, known:], train[:, 1].astype(int), MOODS, 1e-3)
    onset = fit(frames[:, 2:], frames[:, 0].astype(int), 2, 1e-5)
    rates(test[:, known:], test[:, :known], place, mood)
    if not options.print_only:
        write("sound_weights", (("place_weights[MGI_WORLD_BACKGROUNDS][MGI_LOOK_FEATURES + 1]", place),
                                ("mood_weights[MGI_WORLD_MOODS][MGI_LOOK_FEATURES + 1]", mood)))
        write("sound_onset_weights", (("onset_weights[MGI_LOOK_ONSET_FEATURES + 1]", onset[1] - onset[0]),))


if __name__ == "__main__":
    sys.exit(main())
