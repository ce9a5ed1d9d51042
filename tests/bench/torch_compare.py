# SPDX-License-Identifier: MIT
"""Whole networks beside PyTorch, on one core, in turns: the toybox's video transformer, forward and a training step,
and the TAE's decoder.

    torch_compare.py BUILD_FOLDER [--core 1] [--rounds 7] [--case NAME]... [--no-compile] [--isa avx2] [--markdown FILE]

BUILD_FOLDER holds a release build with its tests. The same weights are loaded and the same inputs given to both sides,
and the results compared. PyTorch is written in several forms (its fused attention or two products, its linear layer or
a 1x1 convolution, which goes to oneDNN); the fastest is tried compiled too, and the better one meets ours, in
alternation. All times are of one thread, in processor time, as in compare.py, which also says where PyTorch comes from and what
--isa does; what torch.compile makes is then for a Haswell.
"""
import argparse
import datetime
import json
import math
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time

from compare import ISAS, VARIANTS, enter_venv, our_times

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.join(ROOT, "examples", "models", "toybox")
BATCH, GRID, TOKENS = 48, (4, 8, 8), 32  # latents of 32 frames of 64 x 64; a caption has 27 to 37 bytes
LR, BETAS, EPS, DECAY, CLIP, EMA = 1e-4, (0.9, 0.95), 1e-8, 0.01, 0.5, 0.999  # as in bench_networks.c
CASES = {"velocity": "velocity, batch 48", "train": "training step, batch 48", "latents64": "TAE decode, 64 x 64 x 32",
         "latents128": "TAE decode, 128 x 128 x 32"}
TARGETS = {"velocity": 1.3, "train": 1.2, "latents64": 1.3, "latents128": 1.3}
PRECISIONS = ("f32", "bf16")


def read_weights(torch, name):
    """A safetensors file as f32."""
    with open(os.path.join(MODEL, name + ".safetensors"), "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = bytearray(f.read())
    weights = {}
    for key, entry in header.items():
        if key != "__metadata__":
            begin, end = entry["data_offsets"]
            dtype = {"BF16": torch.bfloat16, "F32": torch.float32, "F8_E4M3": torch.float8_e4m3fn}[entry["dtype"]]
            flat = torch.frombuffer(data, dtype=dtype, count=(end - begin) // dtype.itemsize, offset=begin)
            weights[key] = flat.reshape(entry["shape"]).float()
    for key in [key for key in weights if key.endswith("_scale") and key[:-len("_scale")] in weights]:
        weights[key[:-len("_scale")]] *= weights.pop(key)  # FP8: codes, and a scale a row
    return weights


def read_config(name):
    with open(os.path.join(MODEL, name + ".json"), encoding="utf-8") as f:
        return json.load(f)["config"]


# ---- the video transformer ----

class Transformer:
    """lib/model/video_transformer.c. The form: attention "fused" or "products", linear "linear" or "conv"."""

    def __init__(self, torch, weights, attention, linear):
        self.torch, self.F, self.w = torch, torch.nn.functional, weights
        self.config = read_config("video_model")
        self.attention_form, self.linear_form = attention, linear
        self.run_block = self.block

    def linear(self, x, w, b=None):
        if self.linear_form == "linear" or x.shape[-2] < 64:
            return self.F.linear(x, w, b)
        flat = x.reshape(1, -1, 1, x.shape[-1]).permute(0, 3, 1, 2)  # channels last: nothing moves
        y = self.F.conv2d(flat, w[:, :, None, None], b)
        return y.permute(0, 2, 3, 1).reshape(*x.shape[:-1], w.shape[0])

    def attend(self, q, k, v):
        """Of (B,heads,tokens,width), to (B,tokens,heads x width)."""
        if self.attention_form == "fused":
            y = self.F.scaled_dot_product_attention(q, k, v)
        else:
            scores = self.torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2))
            y = self.torch.matmul(self.torch.softmax(scores, -1), v)
        return y.transpose(1, 2).flatten(2)

    def norm(self, x, w, scale, shift):
        return self.torch.addcmul(shift, self.F.rms_norm(x, (x.shape[-1],), w, 1e-5), 1 + scale)

    def block(self, x, shared, text, position, weights):
        mod, norm1, qkv, out, cross_q, cross_kv, cross_out, norm2, gate_up, down = weights
        n, s, d = x.shape
        heads = self.config["heads"]
        a1, b1, g1, a2, b2, g2 = (shared + mod).split(1, 1)
        x = x + position
        parts = self.linear(self.norm(x, norm1, a1, b1), qkv).view(n, s, 3, heads, -1).permute(2, 0, 3, 1, 4)
        x = self.torch.addcmul(x, g1, self.linear(self.attend(*parts), out))
        q = self.linear(x, cross_q).view(n, s, heads, -1).transpose(1, 2)
        k, v = self.linear(text, cross_kv).view(n, text.shape[1], 2, heads, -1).permute(2, 0, 3, 1, 4)
        x = x + self.linear(self.attend(q, k, v), cross_out)
        gate, up = self.linear(self.norm(x, norm2, a2, b2), gate_up).chunk(2, -1)
        return self.torch.addcmul(x, g2, self.linear(self.F.silu(gate) * up, down))

    def block_weights(self, i):
        names = ("mod", "norm1.weight", "attn.qkv.weight", "attn.out.weight", "cross.q.weight", "cross.kv.weight",
                 "cross.out.weight", "norm2.weight", "ffn.gate_up.weight", "ffn.down.weight")
        return [self.w[f"block{i}.{name}"] for name in names]

    def forward(self, x, t, text):
        """x (B,T,H,W,C), t (B), text (B,tokens,width)."""
        torch, F, w, c = self.torch, self.F, self.w, self.config
        _, high, wide = c["patch"]
        n, (frames, rows, columns), d = len(x), (GRID[0], GRID[1] // high, GRID[2] // wide), c["dim"]
        half, dtype = c["time_dim"] // 2, w["time.in.bias"].dtype
        angle = 1000 * t[:, None] * torch.exp(torch.arange(half) * (-math.log(10000) / half))
        e = torch.cat((angle.cos(), angle.sin()), -1).to(dtype)
        e = F.linear(F.silu(F.linear(e, w["time.in.weight"], w["time.in.bias"])), w["time.out.weight"],
                     w["time.out.bias"])
        e = F.silu(e)
        shared = F.linear(e, w["time.mod.weight"], w["time.mod.bias"]).view(n, 6, d)
        text = F.layer_norm(self.linear(text.to(dtype), w["text.proj.weight"]), (d,), w["text.norm.weight"],
                            w["text.norm.bias"])
        x = x.to(dtype).view(n, frames, rows, high, columns, wide, -1).permute(0, 1, 2, 4, 3, 5, 6)
        x = self.linear(x.reshape(n, frames * rows * columns, -1), w["patch.weight"])
        position = (w["pos.frame"][:frames, None, None] + w["pos.row"][:rows, None] + w["pos.column"][:columns])
        position = position.view(1, -1, d)
        for i in range(c["layers"]):
            x = self.run_block(x, shared, text, position, self.block_weights(i))
        a, b = F.linear(e, w["head.mod.weight"], w["head.mod.bias"]).view(n, 2, d).split(1, 1)
        x = self.linear(self.norm(x, w["head.norm.weight"], a, b), w["head.weight"])
        x = x.view(n, frames, rows, columns, high, wide, -1).permute(0, 1, 2, 4, 3, 5, 6)
        return x.reshape(n, *GRID, -1).float()


def velocity_call(torch, form, precision, inputs):
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    weights = {name: value.to(dtype) for name, value in read_weights(torch, "video_model").items()}
    net = Transformer(torch, weights, form["attention"], form["linear"])
    if form["compiled"]:
        net.run_block = torch.compile(net.block, dynamic=False)
    args = [inputs[name] for name in ("x", "t", "text")]

    def call():
        with torch.inference_mode():
            return net.forward(*args)
    return call


def train_call(torch, form, precision, inputs):
    """A step as the trainer takes it: gradients, their norm and clipping, AdamW, the running average. Its loss."""
    weights = {name: value.requires_grad_() for name, value in read_weights(torch, "video_model").items()}
    net = Transformer(torch, weights, form["attention"], form["linear"])
    if form["compiled"]:
        net.run_block = torch.compile(net.block, dynamic=False)
    decays = [value for name, value in weights.items() if name.endswith(".weight") and value.ndim == 2]
    others = [value for name, value in weights.items() if not (name.endswith(".weight") and value.ndim == 2)]
    optimizer = torch.optim.AdamW([{"params": decays, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}],
                                  lr=LR, betas=BETAS, eps=EPS, fused=True)
    every = decays + others
    average = [value.detach().clone() for value in every]
    args, state = [inputs[name] for name in ("x", "t", "text")], {"step": 0}

    def call():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            y = net.forward(*args)
        loss = torch.nn.functional.mse_loss(y, inputs["target"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(every, CLIP, foreach=True)
        optimizer.step()
        share = min(EMA, (1 + state["step"]) / (10 + state["step"]))
        torch._foreach_lerp_(average, [value.detach() for value in every], 1 - share)
        state["step"] += 1
        return loss.detach()
    return call


# ---- the TAE's decoder ----

class Decoder:
    """lib/model/tae.c; frames are (T,C,H,W), channels last throughout."""

    def __init__(self, torch, weights, dtype):
        self.torch, self.F = torch, torch.nn.functional
        self.levels = len(read_config("tae")["channels"])
        self.inverse, self.shift = 1 / weights["latent.scale"], weights["latent.shift"]
        last, self.w = {"memory_format": torch.channels_last}, {}
        for name, value in weights.items():
            if value.ndim == 4:  # (out,h,w,in)
                value = value.permute(0, 3, 1, 2).contiguous(**last)
            self.w[name] = value.to(dtype)
        self.dtype = dtype

    def conv(self, x, name, up=False):
        w, torch, F = self.w, self.torch, self.F
        if up:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        y = F.conv2d(x, w[name + ".weight"], w[name + ".bias"], padding=1)
        frames, channels, height, width = y.shape
        # Pixels as rows, so that 3 frames by 1 pixel is a convolution too; the edge frames are repeated.
        frame = torch.arange(frames).repeat_interleave(2 if up else 1)
        frame = torch.cat((frame[:1], frame, frame[-1:]))
        rows = y.permute(0, 2, 3, 1).reshape(1, frames, height * width, channels)
        rows = rows.index_select(1, frame).permute(0, 3, 1, 2)
        y = F.conv2d(rows, w[name + ".time.weight"], w[name + ".time.bias"])
        return y.permute(0, 2, 3, 1).reshape(-1, height, width, channels).permute(0, 3, 1, 2)

    def forward(self, z):
        """z (T,H,W,C), normalised. (T,H,W,3)."""
        F = self.F
        x = self.conv((z * self.inverse + self.shift).to(self.dtype).permute(0, 3, 1, 2), "decoder.in")
        for level in reversed(range(self.levels)):
            h = self.conv(F.silu(x), f"decoder.level{level}.block0.conv1")
            x = x + self.conv(F.silu(h), f"decoder.level{level}.block0.conv2")
            if level:
                x = self.conv(x, f"decoder.level{level}.up", up=True)
        return self.conv(F.silu(x), "decoder.out").permute(0, 2, 3, 1).float().contiguous()


def decode_call(torch, form, precision, z):
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    net = Decoder(torch, read_weights(torch, "tae"), dtype)
    forward = torch.compile(net.forward, dynamic=False) if form["compiled"] else net.forward

    def call():
        with torch.inference_mode():
            return forward(z)
    return call


# ---- what is compared ----

def make_inputs(torch, folder):
    torch.manual_seed(1)
    latents = (BATCH, *GRID, read_config("tae")["latent_channels"])
    inputs = {"x": torch.randn(latents), "target": torch.randn(latents), "t": torch.rand(BATCH),
              "text": torch.randn(BATCH, TOKENS, read_config("video_model")["text"]["ul2"])}  # the one stream there is
    for side in (64, 128):
        inputs[f"latents{side}"] = torch.randn(GRID[0], side // 8, side // 8, latents[-1])
    for name, value in inputs.items():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(bytes(value.numpy()))
    return inputs


def eager_forms(case, precision):
    if case.startswith("latents"):
        yield {"compiled": False}
        return
    for attention in ("fused", "products"):
        for linear in ("linear", "conv"):
            if precision == "f32" or linear == "linear":  # bf16 goes to oneDNN in any case
                yield {"compiled": False, "attention": attention, "linear": linear}


def name_of(form):
    words = ["compiled" if form["compiled"] else "eager"]
    if "attention" in form:
        words.append("fused attention" if form["attention"] == "fused" else "attention of two products")
        words.append("linear layers" if form["linear"] == "linear" else "1x1 convolutions")
    return ", ".join(words)


def torch_call(torch, case, form, precision, inputs):
    torch.compiler.reset()
    if case == "velocity":
        return velocity_call(torch, form, precision, inputs)
    if case == "train":
        return train_call(torch, form, precision, inputs)
    return decode_call(torch, form, precision, inputs[case])


def seconds_of(call):
    begun = time.process_time()
    call()
    return time.process_time() - begun


class Ours:
    def __init__(self, build, folder, isa):
        self.folder = folder
        program = os.path.join(build, "tests", "bench", "bench_networks")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        if isa:
            pipes["env"] = dict(os.environ, MOVIEGEN_KERNELS="ref," + VARIANTS[isa])
        self.child = subprocess.Popen([program, MODEL, folder], **pipes)

    def run(self, case, precision, file=""):
        """Seconds, operations, loss."""
        self.child.stdin.write(f"{case} {precision} {file}\n")
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        if not line:
            sys.exit("torch_compare.py: bench_networks failed")
        return [float(word) for word in line.split()]

    def result(self, torch, case, precision):
        path = os.path.join(self.folder, "result")
        self.run(case, precision, path)
        with open(path, "rb") as f:
            return torch.frombuffer(bytearray(f.read()), dtype=torch.float32)


def difference(torch, ours, case, precision, call):
    """Of the results, relative to the largest; of training, of the losses of steps 1 to 4."""
    if case == "train":
        pairs = [(ours.run(case, precision)[2], float(call())) for _ in range(4)]
        return max(abs(a - b) / abs(b) for a, b in pairs)
    theirs = call().reshape(-1)
    return float((ours.result(torch, case, precision) - theirs).abs().max() / theirs.abs().max())


def try_form(torch, case, form, precision, inputs):
    """Seconds of the best of three runs; infinite if PyTorch cannot."""
    begun = time.monotonic()
    try:
        call = torch_call(torch, case, form, precision, inputs)
        call()
        ready = time.monotonic() - begun
        seconds = min(seconds_of(call) for _ in range(3))
    except Exception as error:  # what a compiler may raise is not known
        print(f"# {case} {precision} {name_of(form)}: {str(error).splitlines()[0]}", file=sys.stderr)
        return float("inf")
    print(f"# {case} {precision} {name_of(form)}: {seconds * 1e3:.1f} ms, ready in {ready:.0f} s", file=sys.stderr)
    return seconds


def fastest_form(torch, options, case, precision, inputs):
    tried = [(try_form(torch, case, form, precision, inputs), form) for form in eager_forms(case, precision)]
    best = min(tried, key=lambda pair: pair[0])
    compiled = dict(best[1], compiled=True)
    if not options.no_compile and try_form(torch, case, compiled, precision, inputs) < best[0]:
        return compiled
    return best[1]


def compare_case(torch, options, ours, case, precision, inputs, peak):
    form = fastest_form(torch, options, case, precision, inputs)
    call = torch_call(torch, case, form, precision, inputs)
    error = difference(torch, ours, case, precision, call)
    times, flops = ([], []), 0
    for i in range(options.rounds + 1):
        for side in (0, 1) if i % 2 else (1, 0):
            if side:
                seconds = seconds_of(call)
            else:
                seconds, flops, _ = ours.run(case, precision)
            if i:  # the first round warms up
                times[side].append(seconds)
    mine, theirs = (min(t) for t in times)
    medians = [statistics.median(t) for t in times]
    return (f"| {CASES[case]} | {precision} | {mine * 1e3:.1f} | {medians[0] * 1e3:.1f} | {flops / mine * 1e-9:.0f} | "
            f"{100 * flops / mine / peak:.0f} % | {theirs * 1e3:.1f} | {medians[1] * 1e3:.1f} | {theirs / mine:.2f} | "
            f"{medians[1] / medians[0]:.2f} | {TARGETS[case]:.1f} | {error:.0e} | {name_of(form)} |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--case", action="append", choices=CASES)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--isa", choices=ISAS)
    parser.add_argument("--markdown")
    options = parser.parse_args()
    enter_venv(options.isa)
    import torch
    if options.isa:
        import torch._inductor.config
        torch._inductor.config.cpp.simdlen = 256
        torch._inductor.config.cpp.march = "haswell"
    os.sched_setaffinity(0, {options.core})
    torch.set_num_threads(1)
    rows = ["| what | | ms | median | GFLOP/s | of peak | PyTorch ms | median | ratio | of medians | aim | difference "
            "| PyTorch's form |", "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|"]
    with tempfile.TemporaryDirectory() as folder:
        inputs = make_inputs(torch, folder)
        peaks = our_times(os.path.join(options.build, "tests", "kernels", "checkkernel"), "adamw", folder, options.isa)
        most = {"f32": peaks["f32"], "bf16": max(peaks["f32"], peaks["bf16"])}
        ours = Ours(options.build, folder, options.isa)
        for case in options.case or CASES:
            for precision in PRECISIONS:
                rows.append(compare_case(torch, options, ours, case, precision, inputs, most[precision]))
                print(rows[-1], flush=True)
    note = (f"One core{', ' + options.isa if options.isa else ''}; {datetime.date.today()}; PyTorch {torch.__version__}; {options.rounds} rounds; peaks "
            f"{peaks['f32'] * 1e-9:.0f} GFLOP/s f32, {peaks['bf16'] * 1e-9:.0f} bf16.")
    text = "\n".join([note, ""] + rows) + "\n"
    print("\n" + text)
    if options.markdown:
        with open(options.markdown, "w", encoding="utf-8") as f:
            f.write(text)


if __name__ == "__main__":
    main()
