# SPDX-License-Identifier: MIT
"""Make the fixtures of test_bpe.c, here: clip_vocab.json, clip_merges.txt, bpe.json.

    make_bpe.py                    needs transformers (5.24.0) and tokenizers (0.23.3): pip install transformers

The merges are learned from sentences made up by make_sentencepiece.py; the ids are those of transformers'
CLIPTokenizer on these files.
"""
import collections
import json
import os
import random
import re

from transformers import CLIPTokenizer

import make_sentencepiece as sentences

HERE = os.path.dirname(os.path.abspath(__file__))
MERGES = 400
INPUTS = [text for text in sentences.INPUTS if text] + [
    "It's THEY'LL we're 'tis I'm I'd you've '' 's", "!'s?'t", "don''t", "2024 is 20 24", "x²+y³ ⅷ Ⅷ ٣", "İSTANBUL ΣΑΣ ǅ Ⱥ ẞ K",
    "snake_case kebab-case <tag/>", "a\u200db\u0085c\u001cd\u001fe", "e\u0323\u0301", "ⓐ Ⓐ 𝐀 𐐀", "aaaaaaaaaaaaaaaaaaaaaaaaaaa", "ballballball",
    "Ünïcödé ÀÉÎÕÜ ÇÑŠŽ", "ﬀ ﬁ ﬂ", "https://example.org/?q=1&x='ll", "𓀀𓀁 ꙮ ꭰ Ꭰ ᲀ Ა ა",
    "a\u0315\u0300\u05ae\u0300b \u1100\u1161\u11a8 \uac00\u11a8 \u0344 \u2126 \uf900 \u0958 \u1e9b\u0323", "İ I\u0307",
]


def alphabet():
    own = [b for b in range(256) if 0x21 <= b <= 0x7E or (b >= 0xA1 and b != 0xAD)]
    other = [b for b in range(256) if b not in own]
    return {b: chr(b) for b in own} | {b: chr(256 + i) for i, b in enumerate(other)}


def learn(letters):
    random.seed(5)
    words = collections.Counter()
    for line in sentences.corpus():
        for word in re.findall(r"[^\W\d_]+|\d|[^\s\w]+", line.lower()):
            parts = [letters[b] for b in word.encode()]
            words[tuple(parts[:-1] + [parts[-1] + "</w>"])] += 1
    merges = []
    while len(merges) < MERGES:
        pairs = collections.Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        if not pairs:
            break
        best = max(sorted(pairs), key=pairs.get)
        merges.append(best)
        new = collections.Counter()
        for word, count in words.items():
            out, i = [], 0
            while i < len(word):
                two = word[i:i + 2] == best
                out.append("".join(best) if two else word[i])
                i += 1 + two
            new[tuple(out)] += count
        words = new
    return merges


def main():
    letters = alphabet()
    merges = learn(letters)
    tokens = list(letters.values()) + [c + "</w>" for c in letters.values()] + ["".join(pair) for pair in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocab, path = {token: i for i, token in enumerate(tokens)}, os.path.join(HERE, "clip_vocab.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(vocab, f, ensure_ascii=False)
    with open(os.path.join(HERE, "clip_merges.txt"), "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges)
    with open(os.path.join(HERE, "bpe.json"), "w", encoding="utf-8") as f:
        rows = [json.dumps({"text": text, "clip": tokenizer(text)["input_ids"][1:-1]}) for text in INPUTS]
        f.write("[\n" + ",\n".join(rows) + "\n]\n")


if __name__ == "__main__":
    main()
