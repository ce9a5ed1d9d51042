# SPDX-License-Identifier: MIT
"""Make the fixtures of test_hf_text.c, in hf/ here: folders of tiny text encoders as transformers saves them, and
golden.safetensors, what transformers makes of some prompts with them.

    make_hf.py                     needs torch (2.15.0), transformers (5.24.0), safetensors, sentencepiece: pip install

Weights are random. They are rounded to the dtype they are stored in, saved, loaded again by transformers and run in
f32. Tokenizers are the fixtures beside this file, which the test puts into the folders under their usual names.

    t5      T5, ReLU, with a decoder; f32
    flan    T5, gated GELU, with a decoder; bf16, in several files with an index
    ul2     T5, gated SiLU: the weights of flan (only its config.json is written)
    byt5    ByT5, gated GELU; f16; config.json and weights only
    clip    CLIP with its tower for pictures, quick GELU, 24 positions; f16
    long    CLIP's text model alone, names without "text_model.", GELU, 256 positions, other eps; bf16
"""
import json
import os
import shutil

import sentencepiece
import torch
import transformers
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "hf")
PROMPTS = ["a red ball bounces across a green field.", "", "sign \"A1\" — naïve café", "ball " * 40]


def randomise(model, seed, dtype):
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            near = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            p.copy_(near + torch.randn(p.shape) * (0.3 if p.dim() < 2 else min(1.0, 1.2 / p.shape[-1] ** 0.5)))
    return model.to(dtype)


def keep(folder, names):
    for name in os.listdir(folder):
        if not name.startswith(names):
            os.remove(os.path.join(folder, name))


def save(model, name, **options):
    folder = os.path.join(OUT, name)
    model.save_pretrained(folder, **options)
    keep(folder, ("config.json", "model"))
    return folder


def t5(ffn, **more):
    return transformers.T5Config(vocab_size=512, d_model=8, d_kv=4, num_heads=3, d_ff=12, num_layers=2, num_decoder_layers=1,
                                 relative_attention_num_buckets=8, relative_attention_max_distance=20,
                                 feed_forward_proj=ffn, **more)


def clip_text(act, **more):
    return dict(vocab_size=831, hidden_size=8, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2, hidden_act=act, **more)


def encode(name, model, ids, golden):
    model.eval()
    for i, row in enumerate(ids):
        with torch.no_grad():
            y = model(input_ids=torch.tensor([row])).last_hidden_state[0]
        golden[f"{name}.{i}"] = y.float().contiguous()
        golden[f"{name}.{i}.ids"] = torch.tensor(row, dtype=torch.int32)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    golden = {}
    pieces = sentencepiece.SentencePieceProcessor(model_file=os.path.join(HERE, "nfkc.model"))
    pieces_ids = [pieces.encode(p) + [pieces.eos_id()] for p in PROMPTS]
    folder = save(randomise(transformers.T5ForConditionalGeneration(t5("relu")), 1, torch.float32), "t5")
    encode("t5", transformers.T5EncoderModel.from_pretrained(folder), pieces_ids, golden)
    folder = save(randomise(transformers.T5ForConditionalGeneration(t5("gated-gelu")), 2, torch.bfloat16),
                  "flan", max_shard_size="9KB")
    encode("flan", transformers.T5EncoderModel.from_pretrained(folder, dtype=torch.float32), pieces_ids, golden)
    other = transformers.T5Config.from_pretrained(folder)
    other = transformers.T5Config(**{**other.to_dict(), "feed_forward_proj": "gated-silu", "dense_act_fn": "silu", "layer_norm_epsilon": 1e-5})
    other.save_pretrained(os.path.join(OUT, "ul2"))
    encode("ul2", transformers.T5EncoderModel.from_pretrained(folder, config=other, dtype=torch.float32), pieces_ids, golden)

    config = t5("gated-gelu", tokenizer_class="ByT5Tokenizer")
    config.vocab_size = 384
    folder = save(randomise(transformers.T5EncoderModel(config), 3, torch.float16), "byt5")
    tokenizer = transformers.ByT5Tokenizer()
    encode("byt5", transformers.T5EncoderModel.from_pretrained(folder, dtype=torch.float32),
           [tokenizer(p).input_ids[:-1][:255] + [1] for p in PROMPTS], golden)

    tokenizer = transformers.CLIPTokenizer(os.path.join(HERE, "clip_vocab.json"), os.path.join(HERE, "clip_merges.txt"))
    ids = [tokenizer(p).input_ids for p in PROMPTS]
    picture = dict(hidden_size=4, intermediate_size=4, num_hidden_layers=1, num_attention_heads=1, image_size=8, patch_size=8)
    config = transformers.CLIPConfig(text_config=clip_text("quick_gelu", max_position_embeddings=24), vision_config=picture, projection_dim=4)
    folder = save(randomise(transformers.CLIPModel(config), 4, torch.float16), "clip")
    encode("clip", transformers.CLIPTextModel.from_pretrained(folder, dtype=torch.float32), [i[:23] + i[-1:] if len(i) > 24 else i for i in ids],
           golden)
    config = transformers.CLIPTextConfig(**clip_text("gelu", max_position_embeddings=256, layer_norm_eps=1e-3))
    model = randomise(transformers.CLIPTextModel(config), 5, torch.bfloat16)
    folder = save(model, "long")
    encode("long", transformers.CLIPTextModel.from_pretrained(folder, dtype=torch.float32), ids, golden)
    path = os.path.join(folder, "model.safetensors")
    save_file({name.removeprefix("text_model."): t for name, t in load_file(path).items()}, path, {"format": "pt"})
    save_file(golden, os.path.join(OUT, "golden.safetensors"))
    with open(os.path.join(OUT, "prompts.json"), "w", encoding="utf-8") as f:
        json.dump(PROMPTS, f, ensure_ascii=False)
        f.write("\n")


if __name__ == "__main__":
    main()
