# SPDX-License-Identifier: MIT
"""Make the fixtures of test_hf_rewriter.c, in rewriter/ here: folders of tiny T5ForConditionalGeneration as transformers
saves them, texts.json, and golden.safetensors, what transformers makes of them.

    make_rewriter.py               needs torch (2.15.0), transformers (5.24.0), safetensors, sentencepiece: pip install

Each network learns three prompts by heart, so that what it writes is text; then it is rounded to the dtype it is stored
in, saved, loaded again by transformers and run in f32: logits, at each fifth token, of what it learned and of random tokens
behind it, more of them than the relative positions have buckets; and what it writes by itself. The tokenizer is nfkc.model, beside this file,
which the test puts into the folders.

    t5      the first T5: ReLU, logits by the table of tokens, scaled; f32
    flan    gated GELU, a head of its own; bf16, in several files with an index; config.json as for transformers 4
    byt5    ByT5: gated GELU, a decoder of fewer layers; f16; saved without a head, which is the table, not scaled
"""
import json
import os
import shutil

import sentencepiece
import torch
import transformers
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "rewriter")
PAIRS = [("a red ball", "a bright red ball bounces across a green field."), ("dog \"A1\"", "a small dog looks at the sign \"A1\"."),
         ("naïve café", "a woman walks slowly in a naïve café.")]


def config(**more):
    return transformers.T5Config(vocab_size=448, d_model=16, d_kv=4, num_heads=3, d_ff=24, num_layers=2, num_decoder_layers=2,
                                 relative_attention_num_buckets=8, relative_attention_max_distance=20, dropout_rate=0.0,
                                 decoder_start_token_id=0, **more)


def batch(rows):
    size = max(map(len, rows))
    return torch.tensor([r + [0] * (size - len(r)) for r in rows]), torch.tensor([[1] * len(r) + [0] * (size - len(r)) for r in rows])


def learn(model, seed, pairs):
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            near = 1.0 if "norm" in name else 0.0
            p.copy_(near + torch.randn(p.shape) * (0.1 if p.dim() < 2 else 0.3))
    ids, mask = batch([a for a, _ in pairs])
    labels, _ = batch([b for _, b in pairs])
    labels[labels == 0] = -100
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(400):
        optimizer.zero_grad()
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        optimizer.step()
    print("learned to a loss of", loss.item())
    return model


def save(model, name, dtype, **options):
    folder = os.path.join(OUT, name)
    model.to(dtype).save_pretrained(folder, **options)
    for file in os.listdir(folder):
        if not file.startswith(("config.json", "model")):
            os.remove(os.path.join(folder, file))
    return folder


def edit(folder, **fields):
    path = os.path.join(folder, "config.json")
    with open(path, encoding="utf-8") as f:
        values = json.load(f)
    values.update(fields)
    with open(path, "w", encoding="utf-8") as f:
        json.dump({k: v for k, v in values.items() if v is not None}, f, indent=2)
        f.write("\n")


def golden_of(name, folder, pairs, decode, golden, texts):
    model = transformers.T5ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    ids, mask = batch([a for a, _ in pairs])
    torch.manual_seed(3)
    told = torch.cat([torch.zeros(len(pairs), 1, dtype=torch.long), torch.randint(0, 256, (len(pairs), 40))], 1)
    for i, (_, b) in enumerate(pairs):
        told[i, 1 : 1 + min(len(b), 20)] = torch.tensor(b[:20])
    with torch.no_grad():
        golden[f"{name}.ids"] = ids.int()
        golden[f"{name}.mask"] = mask.to(torch.uint8)
        golden[f"{name}.told"] = told.int()
        golden[f"{name}.logits"] = model(input_ids=ids, attention_mask=mask, decoder_input_ids=told).logits[:, ::5].contiguous()
        rows = [model.generate(torch.tensor([a]), do_sample=False, num_beams=1, max_new_tokens=100)[0].tolist() for a, _ in pairs]
    texts[name] = [decode(row[1 : row.index(1)]) for row in rows]
    print(name, texts[name])


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    golden, texts = {}, {"prompts": [a for a, _ in PAIRS]}
    pieces = sentencepiece.SentencePieceProcessor(model_file=os.path.join(HERE, "nfkc.model"))
    pairs = [(pieces.encode(a) + [1], pieces.encode(b) + [1]) for a, b in PAIRS]
    model = learn(transformers.T5ForConditionalGeneration(config(feed_forward_proj="relu")), 1, pairs)
    golden_of("t5", save(model, "t5", torch.float32), pairs, pieces.decode, golden, texts)

    model = transformers.T5ForConditionalGeneration(config(feed_forward_proj="gated-gelu", tie_word_embeddings=False))
    model.lm_head.weight = torch.nn.Parameter(torch.zeros_like(model.shared.weight))
    model.config.tie_word_embeddings = False
    folder = save(learn(model, 2, pairs), "flan", torch.bfloat16, max_shard_size="16KB")
    edit(folder, tie_word_embeddings=False, scale_decoder_outputs=None)
    golden_of("flan", folder, pairs, pieces.decode, golden, texts)

    pairs = [([c + 3 for c in a.encode()] + [1], [c + 3 for c in b.encode()] + [1]) for a, b in PAIRS]
    small = config(feed_forward_proj="gated-gelu", tie_word_embeddings=False, tokenizer_class="ByT5Tokenizer")
    small.vocab_size, small.num_decoder_layers = 384, 1
    model = learn(transformers.T5ForConditionalGeneration(small), 3, pairs)
    tokenizer = transformers.ByT5Tokenizer()
    golden_of("byt5", save(model, "byt5", torch.float16), pairs, lambda row: tokenizer.decode(row, skip_special_tokens=True),
              golden, texts)
    save_file(golden, os.path.join(OUT, "golden.safetensors"))
    with open(os.path.join(OUT, "texts.json"), "w", encoding="utf-8") as f:
        json.dump(texts, f, ensure_ascii=False, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
