# SPDX-License-Identifier: MIT
"""A prompt rewriter that writes the same text whatever it is asked, for tests of what is around one.

    tiny_rewriter.py FOLDER        saves it there and names it in the pipeline.json

Its decoder looks at the last token alone: the embedding tells tokens apart, and the row of the head that answers to one is
that of the token behind it. So no byte of a text may come twice.
"""
import json
import os
import struct
import sys

TEXT = "jumping fox"
VOCAB, DIM, INNER, FF = 259, 16, 8, 8
BEGIN, END, BYTE = 0, 1, 3  # as the byte tokenizer has them


def shapes():
    """{name: shape} of all tensors"""
    layer = {"norm1": [DIM], "qkv": [3 * INNER, DIM], "out": [DIM, INNER], "norm2": [DIM], "wi": [2 * FF, DIM], "wo": [DIM, FF]}
    heard = {"norm1": [DIM], "qkv": [3 * INNER, DIM], "out": [DIM, INNER], "norm2": [DIM], "q": [INNER, DIM],
             "kv": [2 * INNER, DIM], "cross_out": [DIM, INNER], "norm3": [DIM], "wi": [2 * FF, DIM], "wo": [DIM, FF]}
    found = {}
    for prefix, parts in (("", layer), ("decoder.", heard)):
        found[prefix + "embedding.weight"] = [VOCAB, DIM]
        found[prefix + "relative_bias.weight"] = [8, 1]
        found.update({f"{prefix}layer0.{name}.weight": shape for name, shape in parts.items()})
        found[prefix + "norm.weight"] = [DIM]
    found["decoder.head.weight"] = [VOCAB, DIM]
    return found


def values(text):
    """{name: values}, of those that are not 0"""
    tokens = [BEGIN, *(byte + BYTE for byte in text.encode()), END]
    assert len(set(tokens)) == len(tokens) <= DIM + 1, text
    found = {name: [1.0] * DIM for name, shape in shapes().items() if "norm" in name}
    embedding, head = [0.0] * (VOCAB * DIM), [0.0] * (VOCAB * DIM)
    for i, token in enumerate(tokens[:-1]):
        embedding[token * DIM + i] = 1.0
        head[tokens[i + 1] * DIM + i] = 1.0
    return {**found, "decoder.embedding.weight": embedding, "decoder.head.weight": head}


def save(folder, name="rewriter", text=TEXT):
    """Saves it, and names it in the folder's pipeline.json, should there be one."""
    sizes = {"dim": DIM, "layers": 1, "heads": 1, "head_dim": INNER, "ff_dim": FF, "buckets": 8, "max_distance": 16}
    model = {"format": "moviegen-model", "version": 1, "kind": "rewriter", "config": {
        "text": {"kind": "t5-bytes", "config": {"vocab": VOCAB, **sizes, "tokens_max": 512}},
        "decoder": {**sizes, "tokens_max": 32, "tied": False}, "instruction": ""}}
    with open(os.path.join(folder, name + ".json"), "w", encoding="utf-8") as f:
        json.dump(model, f)
    header, data, given = {"__metadata__": {"format": "moviegen"}}, b"", values(text)
    for tensor, shape in shapes().items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        piece = struct.pack(f"<{count}f", *given.get(tensor, [0.0] * count))
        header[tensor] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(piece)]}
        data += piece
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with open(os.path.join(folder, name + ".safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + data)
    pipeline = os.path.join(folder, "pipeline.json")
    if os.path.exists(pipeline):
        with open(pipeline, encoding="utf-8") as f:
            parts = json.load(f)
        with open(pipeline, "w", encoding="utf-8") as f:
            json.dump({**parts, "rewriter": name}, f)


if __name__ == "__main__":
    save(sys.argv[1])
