# SPDX-License-Identifier: MIT
"""Curation of raw films."""
import json
import os

from test_python import raises


def film(world, name, frames, moves):
    """A block on a checkered ground, of 96 x 64 pixels; it moves a pixel a frame or not at all."""
    folder = world.path("raw")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(b"YUV4MPEG2 W96 H64 F16:1 C444\n")
        for i in range(frames):
            at = 8 + (i % 48 if moves else 0)
            rows = [bytes(230 if 20 <= y < 44 and at <= x < at + 24 else 90 + 20 * ((x // 9 + y // 7) % 2) for x in range(96))
                    for y in range(64)]
            f.write(b"FRAME\n" + b"".join(rows) + bytes([128]) * (2 * 96 * 64))
    return folder


def test_a_folder(world):
    folder = film(world, "good.y4m", 40, True)
    film(world, "still.y4m", 40, False)
    film(world, "short.y4m", 8, True)
    seen = []
    report = world.moviegen.curate(world.context, folder, rules="toybox", on_progress=lambda *at: seen.append(at))
    assert seen == [(1, 3), (2, 3), (3, 3)], seen
    assert report["films"] == 3 and report["films_duration"] == 2 and report["clips_still"] == 1, report
    with open(folder + "/clips.jsonl", encoding="utf-8") as f:
        lines = {line["file"]: line for line in map(json.loads, f)}
    assert lines["good.y4m"]["kept"] and lines["still.y4m"]["dropped"] == "still", lines
    data = world.moviegen.Dataset.from_folder(world.context, folder, width=96, height=64, frames=16)
    assert data.count == 1
    data.close()


def test_refused(world):
    curate = world.moviegen.curate
    raises(world.moviegen.NotFoundError, curate, world.context, world.path("nowhere"))
    raises(world.moviegen.NotFoundError, curate, world.context, world.path("raw"), rules=world.path("nowhere.json"))
    raises(world.moviegen.NotFoundError, curate, world.context, world.path("raw"))  # the report's rules keep nothing

    def stop(done, total):
        raise KeyError(done)
    raises(KeyError, curate, world.context, world.path("raw"), rules="toybox", on_progress=stop)
