# SPDX-License-Identifier: MIT
"""Make the fixtures of test_hf_vision.c, here: folders of tiny image encoders as transformers saves them, and
golden.safetensors, what transformers makes of some pictures with them.

    make_vision.py                 needs torch (2.15.0), transformers (5.24.0), safetensors, pillow: pip install

Weights are random. They are rounded to the dtype they are stored in, saved, loaded again by transformers and run in f32.
Pictures are prepared by transformers' processor on Pillow, whose results are stored too.

    clip     CLIP with its tower for text, quick GELU, means and deviations of its own, and the numbers of positions as early
             versions stored them; f16
    tower    CLIP's vision model with its projection, GELU, other eps; bf16, in several files with an index
    bare     CLIP's vision model alone, names without "vision_model.", no projection and no preprocessor_config.json; f32
"""
import os
import shutil

import numpy
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

HERE = os.path.dirname(os.path.abspath(__file__))
SIZES = [(12, 12), (31, 57), (40, 24), (5, 9), (12, 20), (7, 3)]  # height, width


def tower(act, **more):
    return dict(hidden_size=8, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2, image_size=12, patch_size=4,
                hidden_act=act, **more)


def save(model, name, seed, dtype, **options):
    torch.manual_seed(seed)
    with torch.no_grad():
        for key, p in model.named_parameters():
            near = 1.0 if "norm" in key and key.endswith("weight") else 0.0
            wide = p[0].numel() if p.dim() > 1 else 11
            p.copy_(near + torch.randn(p.shape) * (wide ** -0.5 if p.dim() else 1.0))
    folder = os.path.join(HERE, name)
    shutil.rmtree(folder, ignore_errors=True)
    model.to(dtype).save_pretrained(folder, **options)
    for file in os.listdir(folder):
        if not file.startswith(("config.json", "model")):
            os.remove(os.path.join(folder, file))
    return folder


def processor(**more):
    return CLIPImageProcessorPil(size={"shortest_edge": 12}, crop_size={"height": 12, "width": 12}, **more)


def run(name, model, prepare, pictures, golden):
    model.eval()
    for i, picture in enumerate(pictures):
        x = prepare(images=Image.fromarray(picture), return_tensors="pt").pixel_values
        with torch.no_grad():
            y = model.get_image_features(pixel_values=x) if hasattr(model, "get_image_features") else model(pixel_values=x)
        y = y.image_embeds if hasattr(y, "image_embeds") else y.pooler_output
        golden[f"{name}.{i}.pixels"] = x[0].permute(1, 2, 0).float().contiguous()  # channels last, as in the library
        golden[f"{name}.{i}"] = y[0].float().contiguous()


def main():
    golden = {}
    random = numpy.random.default_rng(3)
    pictures = []
    for h, w in SIZES:  # soft and hard edges, so that the cubic overshoots
        soft = numpy.add.outer(numpy.arange(h) * 9, numpy.arange(w) * 5)[..., None] + numpy.array([0, 60, 120])
        noise = random.integers(0, 2, (h, w, 3)) * 200
        pictures.append(((soft + noise) % 256).astype(numpy.uint8))
        golden[f"picture.{len(pictures) - 1}"] = torch.from_numpy(pictures[-1])
    text = dict(vocab_size=40, hidden_size=4, intermediate_size=4, num_hidden_layers=1, num_attention_heads=1, max_position_embeddings=6)
    config = transformers.CLIPConfig(text_config=text, vision_config=tower("quick_gelu"), projection_dim=6)
    folder = save(transformers.CLIPModel(config), "clip", 1, torch.float16)
    prepare = processor(image_mean=[0.5, 0.4, 0.25], image_std=[0.25, 0.3, 0.5])
    prepare.save_pretrained(folder)
    run("clip", transformers.CLIPModel.from_pretrained(folder, dtype=torch.float32), prepare, pictures, golden)
    path = os.path.join(folder, "model.safetensors")
    early = {f"{side}_model.embeddings.position_ids": torch.arange(count)[None] for side, count in (("text", 6), ("vision", 10))}
    save_file({**load_file(path), **early}, path, {"format": "pt"})
    config = transformers.CLIPVisionConfig(**tower("gelu", layer_norm_eps=1e-3, projection_dim=5))
    folder = save(transformers.CLIPVisionModelWithProjection(config), "tower", 2, torch.bfloat16, max_shard_size="3KB")
    prepare = processor()
    prepare.save_pretrained(folder)
    run("tower", transformers.CLIPVisionModelWithProjection.from_pretrained(folder, dtype=torch.float32), prepare, pictures, golden)
    config = transformers.CLIPVisionConfig(**tower("quick_gelu"))
    folder = save(transformers.CLIPVisionModel(config), "bare", 3, torch.float32)
    run("bare", transformers.CLIPVisionModel.from_pretrained(folder), prepare, pictures, golden)
    save_file(golden, os.path.join(HERE, "golden.safetensors"))


if __name__ == "__main__":
    main()
