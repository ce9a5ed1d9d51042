#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make the toybox's tokenizers from captions of its world: captions.model, vocab.json, merges.txt; and of its sound: sounds.model.

    python3 scripts/make_tokenizers.py BUILD OUT   BUILD: a build folder, whose libmgi.a tells the captions
                                                   needs spm_train (Debian: sentencepiece) and a C compiler

Signs are left out of what is learned from: their characters stay single ones in both. Any byte can be told:
Both .model files fall back to bytes, and each byte has its two tokens in vocab.json.
"""
import collections
import json
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SEED, COUNT, PIECES, SOUND_PIECES, MERGES = 1, 14000, 448, 512, 260
CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789\"'.,;:!?-"


def captions(build, folder, *what):
    program = os.path.join(folder, "captions")
    subprocess.run(["cc", "-O1", "-I", ROOT, "-I", f"{ROOT}/lib", "-I", f"{ROOT}/include", f"{ROOT}/scripts/world_captions.c",
                    f"{build}/libmgi.a", "-o", program, "-lm", "-lz", "-lpthread", "-ldl"], check=True)
    text = subprocess.run([program, str(SEED), str(COUNT), *what], check=True, capture_output=True, text=True).stdout
    return text.splitlines()


def sentencepiece(lines, pieces, folder, path):
    # The learner thinks only of pieces that two different characters follow somewhere: each word gets them.
    words = sorted(set(re.findall(r"[A-Za-z]+-?", " ".join(lines))))
    with open(os.path.join(folder, "corpus.txt"), "w", encoding="utf-8") as f:
        f.write("\n".join(lines + [f"{word}. {word}, {word};" for word in words]) + "\n")
    subprocess.run(["spm_train", "--input=corpus.txt", "--model_prefix=captions", "--model_type=unigram", f"--vocab_size={pieces}",
                    "--byte_fallback=true", "--normalization_rule_name=identity", "--split_digits=true", f"--required_chars={CHARACTERS}",
                    "--pad_id=0", "--eos_id=1", "--unk_id=2", "--bos_id=-1",
                    "--num_threads=1", "--hard_vocab_limit=false", "--minloglevel=1"], check=True, cwd=folder)
    os.replace(f"{folder}/captions.model", path)


def letters():
    """What stands for a byte in vocab.json."""
    own = [b for b in range(256) if 0x21 <= b <= 0x7E or (b >= 0xA1 and b != 0xAD)]
    other = [b for b in range(256) if b not in own]
    return {b: chr(b) for b in own} | {b: chr(256 + i) for i, b in enumerate(other)}


def join(word, pair):
    out, i = [], 0
    while i < len(word):
        two = word[i:i + 2] == pair
        out.append("".join(pair) if two else word[i])
        i += 1 + two
    return tuple(out)


def byte_pairs(lines, out):
    letter, words, merges = letters(), collections.Counter(), []
    for line in lines:
        for word in re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]+", line.lower()):
            parts = [letter[b] for b in word.encode()]
            words[tuple(parts[:-1] + [parts[-1] + "</w>"])] += 1
    while len(merges) < MERGES:
        pairs = collections.Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        if not pairs:
            break
        merges.append(max(sorted(pairs), key=pairs.get))
        words = collections.Counter({join(word, merges[-1]): count for word, count in words.items()})
    tokens = list(letter.values()) + [c + "</w>" for c in letter.values()]
    tokens += ["".join(pair) for pair in merges] + ["<|startoftext|>", "<|endoftext|>"]
    with open(f"{out}/vocab.json", "w", encoding="utf-8") as f:
        json.dump({token: i for i, token in enumerate(tokens)}, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")
    with open(f"{out}/merges.txt", "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))


def main(build, out):
    with tempfile.TemporaryDirectory() as folder:
        lines = [re.sub(r' ?"[^"]*"', "", line) for line in captions(build, folder)]
        sentencepiece(lines, PIECES, folder, f"{out}/captions.model")
        sentencepiece(captions(build, folder, "sound"), SOUND_PIECES, folder, f"{out}/sounds.model")
    byte_pairs(lines, out)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
