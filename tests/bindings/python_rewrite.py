# SPDX-License-Identifier: MIT
"""Prompts rewritten, by a tiny rewriter that answers always the same."""
import os
import sys

from test_python import HERE, raises

sys.path.insert(1, os.path.dirname(HERE))
import tiny_rewriter  # noqa: E402
from tiny_rewriter import TEXT  # noqa: E402

QUOTED = 'a sign that says "so"'  # which the answer loses


def tiny(world):
    """A folder of a rewriter alone."""
    folder = world.path("rewriting")
    if not os.path.exists(folder):
        os.makedirs(folder)
        with open(os.path.join(folder, "pipeline.json"), "w", encoding="utf-8") as f:
            f.write('{"format": "moviegen-pipeline", "version": 1, "width": 64, "height": 64, "frames": 32, "fps": 16}')
        tiny_rewriter.save(folder)
    return folder


def test_a_rewriter_says_what_it_is(world):
    moviegen = world.moviegen
    with moviegen.Pipeline(world.context, tiny(world)) as pipe:
        info = pipe.rewriter.info
        assert info.parameters > 1000 and info.bytes >= 4 * info.parameters and info.channels == 0, info
        alone = moviegen.Rewriter(world.context, tiny(world))
        assert alone.info == info
        none = moviegen.Pipeline.of(world.context, width=64, height=64, frames=32)
        assert none.rewriter is None and none.hash != pipe.hash
        raises(moviegen.StateError, none.rewrite, "fox?", holds="lacks its rewriter")
    raises(moviegen.StateError, lambda: pipe.rewriter.info, holds="rewriter was closed")
    parts = moviegen.Pipeline.of(world.context, rewriter=alone, width=64, height=64, frames=32)
    assert parts.rewrite("fox?") == TEXT
    parts.close()
    assert alone.info == info  # it is the caller's


def test_a_prompt_is_rewritten(world):
    moviegen, said = world.moviegen, []
    with moviegen.Context(threads=1, log=lambda level, text: said.append((level, text))) as context:
        with moviegen.Pipeline(context, tiny(world)) as pipe:
            assert pipe.rewrite("fox?") == TEXT
            assert not [text for level, text in said if level <= moviegen.LOG_WARN]
            assert pipe.rewrite(QUOTED) == QUOTED  # and it is said why
            assert [level for level, _ in said if level <= moviegen.LOG_WARN] == [moviegen.LOG_WARN], said
            assert pipe.rewrite("füchse") == TEXT
            raises(moviegen.InvalidError, pipe.rewrite, "", holds="missing or empty")
            raises(moviegen.InvalidError, pipe.rewrite, "a\0b")
            raises(moviegen.InvalidError, pipe.rewrite, "a" * 5000, holds="4096 bytes")
        raises(moviegen.StateError, pipe.rewrite, "fox?", holds="pipeline was closed")


def test_rewriting_is_ended_by_progress(world):
    seen = []

    def progress(what, done, total):
        if what == "rewriting the prompt":
            seen.append((done, total))
            if done == 3:
                raise KeyError("enough")

    with world.moviegen.Context(threads=1, progress=progress) as context:
        with world.moviegen.Pipeline(context, tiny(world)) as pipe:
            raises(KeyError, pipe.rewrite, "fox?", holds="enough")
            assert seen == [(i, 32) for i in range(4)], seen
