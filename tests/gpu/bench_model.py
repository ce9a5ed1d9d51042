#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Parts of models as large as the report's beside PyTorch, on one GPU, in turns (ours, theirs, theirs, ours).

    bench_model.py PROGRAM --json FILE --markdown FILE [--quick] [--flex] [--rounds 3] [--case WORD]... [--seconds N]
                   [--ceiling TFLOP/s] [--small] [--dry-run]

PROGRAM is bench_models. Both sides get the same weights and random inputs; first their results are compared, then
each is timed in alternation, and the medians are told: a ratio above 1 means that ours is faster. PyTorch's best form
counts: eager or compiled (max-autotune), for attention by SDPA's default, by cuDNN and, with --flex, by FlexAttention, whose
compilation takes long. The whole model has
no other side, as two do not fit. Cases that do not fit into the memory, or for which no time is left, are named and left
out. Every result is written to FILE as soon as it is there, and not measured again by a call that finds it there: a second
call goes on where the first one ended. --quick: the cases that are most wanted, in that order, one round of each, compiled in
the default mode where there is time; one that cannot end in what is left of --seconds is left out for those behind it, and
ended where it takes longer than it leaves them. --ceiling: what a product of this GPU reaches, as ceilings.py measured it,
for the share of it that is reached. --small: tiny sizes, on the CPU, to test this program where there is no GPU.
"""
import argparse
import contextlib
import datetime
import gc
import json
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
for place in (HERE, os.path.join(os.path.dirname(HERE), "bench")):
    sys.path.insert(0, place)
PEAK = 989.0  # TFLOP/s of bf16 by the data sheet of the H100 and H200
LONG = 10.0  # seconds
PART = 1021  # rows of random inputs that are repeated; a prime, so that tiles of a kernel see different ones
COMPILE_SECONDS = 20.0  # at most, with --quick
TOLERANCE = 0.05  # of the largest value, both sides in bf16

# name -> (layers, dim, heads, ff_dim, T, H, W, text tokens, what)
VIDEO = {
    "layer forward, 8,192 tokens": (1, 6144, 48, 16384, 8, 64, 64, 512, "forward"),
    "layer forward + backward, 8,192 tokens": (1, 6144, 48, 16384, 8, 64, 64, 512, "backward"),
    "layer forward, 73,728 tokens": (1, 6144, 48, 16384, 32, 96, 96, 512, "forward"),
    "layer forward + backward, 73,728 tokens": (1, 6144, 48, 16384, 32, 96, 96, 512, "backward"),
    "training step of 4 layers, 8,192 tokens": (4, 6144, 48, 16384, 8, 64, 64, 512, "step"),
}
DEEP = {"30B model forward, 48 layers, 73,728 tokens": (48, 6144, 48, 16384, 32, 96, 96, 512)}
DEEP_SMALL = {"deep model forward, small": (3, 64, 4, 96, 2, 8, 8, 16)}
PRODUCTS = {f"product of a layer: {title}, {rows:,} x {columns:,} x {depth:,}": (rows, columns, depth)
            for rows in (8192, 73728) for title, columns, depth in
            (("queries, keys, values", 18432, 6144), ("output", 6144, 6144), ("feed-forward in", 32768, 6144),
             ("feed-forward out", 6144, 16384))}
PRODUCTS_SMALL = {"product, small": (40, 48, 32)}
# Large enough for parts that are repeated: PATTERN of bench_models.c, PART.
VIDEO_SMALL = {"layer forward, small": (1, 512, 4, 1100, 2, 8, 8, 16, "forward"),
               "layer forward + backward, small": (1, 512, 4, 1100, 2, 8, 8, 16, "backward"),
               "training step, small": (2, 64, 4, 96, 2, 8, 8, 16, "step")}
TAE = {"TAE decode, 96 x 96 x 32 latents": (128, 256, 512, 512, 32, 96, 96)}
TAE_SMALL = {"TAE decode, small": (4, 6, 8, 8, 2, 4, 4)}
ATTENTION = {f"attention{' and gradient' if grad else ''}, 48 x 128, S = {s:,}": (s, 48, 128, grad)
             for s in (8192, 32768, 73728) for grad in (False, True)}
ATTENTION_SMALL = {"attention, small": (1100, 2, 16, False), "attention and gradient, small": (1100, 2, 16, True)}
ROWS = {f"{title}, 73,728 x {dim:,}": (what, 73728, dim)
        for title, what, dim in (("norm + modulation", "norm", 6144), ("gated residual", "gate", 6144), ("SwiGLU", "glu", 32768))}
ROWS_SMALL = {"norm + modulation, small": ("norm", 1100, 64), "gated residual, small": ("gate", 1100, 64), "SwiGLU, small": ("glu", 1100, 64)}
# --quick: these, in this order, and the seconds that each takes at least on an H200, without compiling: for what is left
# out. By 450 TFLOP/s of ours, 300 of PyTorch's, and the convolutions of ceilings.py.
QUICK = {"attention, 48 x 128, S = 73,728": 5, "attention and gradient, 48 x 128, S = 73,728": 14,
         "layer forward, 73,728 tokens": 7, "layer forward + backward, 73,728 tokens": 17,
         "30B model forward, 48 layers, 73,728 tokens": 35, "TAE decode, 96 x 96 x 32 latents": 18,
         "training step of 4 layers, 8,192 tokens": 9, **{name: 2 for name in ROWS}}


class Skipped(Exception):
    """A case that cannot be run here; the reason."""


class TooLong(BaseException):
    """Not an Exception, of which compilers and their callers catch any."""


deadlines = []  # of the limits that are in force, by time.monotonic()


def alarm():
    left = min(deadlines, default=math.inf) - time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, 0 if left == math.inf else max(left, 0.001))


def ring(*_):
    raise TooLong()


@contextlib.contextmanager
def limit(seconds):
    """TooLong inside, after so many seconds. None: never."""
    if seconds is None:
        yield
        return
    deadlines.append(time.monotonic() + seconds)
    alarm()
    try:
        yield
    finally:
        deadlines.pop()
        alarm()


class Ours:
    def __init__(self, program, device, folder):
        self.folder, self.bytes, self.last = folder, 0.0, 0.0
        self.asked, self.ended, self.command = False, "", [program, device, folder]
        self.start()

    def start(self):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.child = subprocess.Popen(self.command, **pipes)

    def again(self):
        """After TooLong: what has not answered is ended."""
        if self.asked:
            self.child.kill()
            self.child.wait()
            self.asked = False
            self.start()

    def ask(self, *words):
        """Seconds, operations, loss, most bytes of the device so far."""
        self.asked = True
        try:
            self.child.stdin.write(" ".join(str(w) for w in words) + "\n")
            self.child.stdin.flush()
            line = self.child.stdout.readline()
        except BrokenPipeError:  # it has ended before
            line = ""
        self.asked = False
        if not line:
            self.ended = f"bench_models ended with status {self.child.wait()}"
            self.start()
            raise Skipped(f"ours: {self.ended}")
        if line.startswith("failed"):
            raise Skipped(f"ours: {line[7:].strip()}")
        answer = [float(word) for word in line.split()]
        self.bytes, self.last = answer[3], answer[0]
        return answer

    def give(self, name, value):
        value.float().cpu().contiguous().numpy().tofile(os.path.join(self.folder, name))

    def give_rows(self, torch, name, rows, *shape):
        """Random (1, rows, ...), of which the file has a part that is repeated: a whole one would have gigabytes."""
        part = torch.randn(1, min(rows, PART), *shape)
        self.give(name, part)
        return part.repeat(1, -(-rows // part.shape[1]), *(1 for _ in shape))[:, :rows]

    def weights(self, torch):
        """As bench_models has them: of each the first values, which are repeated."""
        import numpy
        values = torch.from_numpy(numpy.fromfile(os.path.join(self.folder, "weights"), dtype=numpy.float32)).to(torch.get_default_device())
        weights, at = {}, 0
        with open(os.path.join(self.folder, "names"), encoding="utf-8") as f:
            for line in f:
                name, have, *dims = line.split()
                have, dims = int(have), [int(d) for d in dims]
                count = math.prod(dims)
                weights[name] = values[at:at + have].repeat(-(-count // have))[:count].view(dims)
                at += have
        return weights

    def result(self, torch, device):
        import numpy
        return torch.from_numpy(numpy.fromfile(os.path.join(self.folder, "result"), dtype=numpy.float32)).to(device)


class Theirs:
    """A call and how long it takes. `spare`: a function of how many seconds a form of it may take; None: any."""

    def __init__(self, torch, cuda, quick):
        self.torch, self.cuda, self.quick, self.spare = torch, cuda, quick, lambda: None

    def seconds(self, call):
        if not self.cuda:
            begun = time.perf_counter()
            call()
            return time.perf_counter() - begun
        self.torch.cuda.synchronize()
        begun = time.perf_counter()
        call()
        self.torch.cuda.synchronize()
        return time.perf_counter() - begun

    def best(self, forms):
        """(name, call) of the fastest form that works; all times."""
        times, warm, runs = {}, 1 if self.quick else 2, 1 if self.quick else 3
        for name, make in forms:
            spare = self.spare() if times else None  # the first one has the case's limit
            if spare is not None and spare < 3:
                print(f"# {name}: no time is left for it", file=sys.stderr)
                continue
            try:
                with limit(spare):
                    call = make()
                    for _ in range(warm):
                        self.seconds(call)
                    times[name] = (statistics.median(self.seconds(call) for _ in range(runs)), call)
            except TooLong:
                if not times:
                    raise
                print(f"# {name}: takes more than {spare:.0f} s", file=sys.stderr)
            except Exception as error:  # what a compiler may raise is not known
                print(f"# {name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}", file=sys.stderr)
            if self.cuda:
                self.torch.cuda.empty_cache()
        if not times:
            raise Skipped("PyTorch: no form works")
        name = min(times, key=lambda n: times[n][0])
        return name, times[name][1], {n: t for n, (t, _) in times.items()}


def alternate(theirs, ours, call, rounds):
    """Ours, theirs, theirs, ours: the medians."""
    times = ([], [])
    for _ in range(rounds):
        for side in (0, 1, 1, 0):
            times[side].append(ours() if side == 0 else theirs.seconds(call))
    return [statistics.median(t) for t in times]


def difference(a, b):
    """Of a, which may be the beginning of b."""
    a = a.reshape(-1).float()
    b = b.reshape(-1)[:a.numel()].float()
    return float((a - b).abs().max() / b.abs().max())


# ---- cases: each gives its inputs to ours, and yields what is compared -------------------------------------------

compile_mode = {"mode": "max-autotune-no-cudagraphs"}  # none with --quick
flex_wanted = []


def compiled(torch, call):
    return torch.compile(call, dynamic=False, **compile_mode)


def video_case(torch, device, ours, sizes):
    import torch_compare
    layers, dim, heads, ff, t, h, w, tokens, what = sizes
    torch_compare.MODEL, torch_compare.GRID = ours.folder, (t, h, w)
    latents = (1, t, h, w, 16)
    data = {"x": torch.randn(latents), "target": torch.randn(latents), "t": torch.rand(1), "text": torch.randn(1, tokens, 64)}
    for name, value in data.items():
        ours.give(name, value)
    ours.ask("video", layers, dim, heads, ff, t, h, w, tokens)
    with open(os.path.join(ours.folder, "video_model.json"), "w", encoding="utf-8") as f:
        json.dump({"config": {"layers": layers, "dim": dim, "heads": heads, "time_dim": 256, "patch": [1, 2, 2]}}, f)
    data = {name: value.to(device) for name, value in data.items()}
    grads = what != "forward"
    weights = {name: value.to(device, torch.float32 if grads else torch.bfloat16).requires_grad_(grads)
               for name, value in ours.weights(torch).items()}
    optimizer = torch.optim.AdamW(list(weights.values()), lr=1e-4, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.01, fused=True) \
        if what == "step" else None

    def make(compile_it):
        net = torch_compare.Transformer(torch, weights, "fused", "linear")
        if compile_it:
            net.run_block = compiled(torch, net.block)

        def call():
            if not grads:
                with torch.inference_mode():
                    return net.forward(data["x"], data["t"], data["text"])
            for value in weights.values():
                value.grad = None
            with torch.autocast(device, torch.bfloat16):
                y = net.forward(data["x"], data["t"], data["text"])
            loss = torch.nn.functional.mse_loss(y, data["target"])
            loss.backward()
            if optimizer:
                torch.nn.utils.clip_grad_norm_(list(weights.values()), 0.5, foreach=True)
                optimizer.step()
            return loss.detach()
        return call
    first, value = ours.ask(what), make(False)()
    if grads:
        apart = abs(first[2] - float(value)) / abs(float(value))
    else:
        apart = difference(ours.result(torch, device), value)
    return apart, lambda: ours.ask(what)[0], first[1], [("eager", lambda: make(False)), ("compiled", lambda: make(True))]


def deep_case(torch, device, ours, sizes):
    *_, t, h, w, tokens = sizes
    for name, shape in (("x", (1, t, h, w, 16)), ("target", (1, t, h, w, 16)), ("t", (1,)), ("text", (1, tokens, 64))):
        ours.give(name, torch.randn(shape) if name != "t" else torch.rand(1))
    ours.ask("deep", *sizes)
    first = ours.ask("forward")
    value = ours.result(torch, device)
    apart = 0.0 if bool(torch.isfinite(value).all()) and float(value.std()) > 0 else math.inf
    again = [first[0]] if first[0] > LONG else []  # so long a run needs no warming up
    return apart, lambda: again.pop() if again else ours.ask("forward")[0], first[1], None


def product_case(torch, device, ours, sizes):
    rows, columns, depth = sizes
    x = ours.give_rows(torch, "x", rows, depth).to(device).bfloat16()
    w = ours.give_rows(torch, "w", columns, depth).to(device).bfloat16()[0]
    flops = ours.ask("product", *sizes)[1]
    apart = difference(ours.result(torch, device), x @ w.t())
    return apart, lambda: ours.ask("product", *sizes)[0], flops, [("matmul", lambda: lambda: x @ w.t())]


def tae_case(torch, device, ours, sizes):
    import torch_compare
    *channels, t, h, w = sizes
    torch_compare.MODEL = ours.folder

    def opened(frames, height, width):
        z = torch.randn(frames, height, width, 16)
        ours.give("latents", z)
        ours.ask("tae", *channels, frames, height, width)
        return z.to(device)
    small = opened(min(t, 4), min(h, 8), min(w, 8))
    weights = {n: v.to(device) for n, v in torch_compare.read_weights(torch, "tae").items()}

    def make(compile_it):
        net = torch_compare.Decoder(torch, weights, torch.bfloat16)
        forward = compiled(torch, net.forward) if compile_it else net.forward

        def call(z):
            # Whole films do not fit: two latent frames at a time, without what lies beside them, which is less work than ours.
            with torch.inference_mode():
                return [forward(part) for part in z.split(2)]
        return call
    ours.ask("decode")
    with torch.inference_mode():
        whole = torch_compare.Decoder(torch, weights, torch.bfloat16).forward(small)
    apart = difference(ours.result(torch, device), whole)
    film = opened(t, h, w)
    forms = [("eager", lambda: lambda call=make(False): call(film)), ("compiled", lambda: lambda call=make(True): call(film))]
    flops = ours.ask("decode")[1]
    return apart, lambda: ours.ask("decode")[0], flops, forms


def attention_case(torch, device, ours, sizes):
    tokens, heads, width, grad = sizes
    qkv = ours.give_rows(torch, "qkv", tokens, 3, heads, width).bfloat16()
    q, k, v = (x.contiguous() for x in qkv.to(device).permute(2, 0, 3, 1, 4))
    for x in (q, k, v):
        x.requires_grad_(grad)
    up = torch.randn(1, heads, tokens, width, device=device).bfloat16()
    sdpa = torch.nn.functional.scaled_dot_product_attention

    def make(attend):
        def call():
            if not grad:
                with torch.inference_mode():
                    return attend(q, k, v)
            for x in (q, k, v):
                x.grad = None
            y = attend(q, k, v)
            y.backward(up)
            return y.detach()
        return call

    def cudnn():
        from torch.nn.attention import SDPBackend, sdpa_kernel

        def attend(*args):
            with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
                return sdpa(*args)
        return make(attend)

    def flex():
        from torch.nn.attention.flex_attention import flex_attention
        return make(torch.compile(flex_attention, dynamic=False))
    word = "attention-grad" if grad else "attention"
    ours.ask("attention", tokens, heads, width)
    theirs_y = make(sdpa)()
    apart = difference(ours.result(torch, device), theirs_y.transpose(1, 2))
    flops = ours.ask(word, tokens, heads, width)[1]
    forms = [("SDPA", lambda: make(sdpa)), ("SDPA by cuDNN", cudnn)] + [("FlexAttention", flex)] * len(flex_wanted)
    return apart, lambda: ours.ask(word, tokens, heads, width)[0], flops, forms


def rows_case(torch, device, ours, sizes):
    what, rows, dim = sizes
    F = torch.nn.functional
    x, h = (ours.give_rows(torch, n, rows, dim).to(device).bfloat16() for n in ("x", "h"))
    a, b = ours.give_rows(torch, "mod", 2, dim).to(device).split(1, 1)

    def norm(x, h, a, b):
        return (F.rms_norm(x.float(), (dim,), eps=1e-5) * (1 + a) + b).bfloat16()

    def gate(x, h, a, b):
        return (x.float() + a * h.float()).bfloat16()

    def glu(x, h, a, b):
        u, v = x.chunk(2, -1)
        return (F.silu(u.float()) * v.float()).bfloat16()
    function = {"norm": norm, "gate": gate, "glu": glu}[what]
    ours.ask(what, rows, dim)
    apart = difference(ours.result(torch, device), function(x, h, a, b))

    def make(f):
        return lambda: f(x, h, a, b)
    forms = [("eager", lambda: make(function)), ("compiled", lambda: make(compiled(torch, function)))]
    return apart, lambda: ours.ask(what, rows, dim)[0], 0.0, forms


def chosen_cases(options):
    cases = [c for c in all_cases(options.small) if not options.case or any(word in c[0] for word in options.case)]
    if options.quick and not options.small:
        order = list(QUICK)
        cases = sorted((c for c in cases if c[0] in QUICK), key=lambda c: order.index(c[0]))
    return cases


def all_cases(small):
    for kind, large, tiny in ((attention_case, ATTENTION, ATTENTION_SMALL), (rows_case, ROWS, ROWS_SMALL),
                              (product_case, PRODUCTS, PRODUCTS_SMALL), (deep_case, DEEP, DEEP_SMALL),
                              (video_case, VIDEO, VIDEO_SMALL), (tae_case, TAE, TAE_SMALL)):
        for name, sizes in (tiny if small else large).items():
            yield name, kind, sizes


# ---- the report -----------------------------------------------------------------------------------------------------

def machine(torch, cuda):
    if not cuda:
        return {"device": "CPU"}
    clock = subprocess.run(["nvidia-smi", "--query-gpu=driver_version,clocks.sm,clocks.max.sm", "--format=csv,noheader"],
                           capture_output=True, text=True, check=False).stdout.strip().splitlines()
    return {"device": torch.cuda.get_device_name(), "driver, clocks": clock[0] if clock else "?"}


def shares(flops, seconds, ceiling):
    """Of what products reach here, and of the data sheet's."""
    rate = flops / seconds * 1e-12
    return (f"{100 * rate / ceiling:.0f} % of {ceiling:.0f}, " if ceiling else "") + f"{100 * rate / PEAK:.0f} % of {PEAK:.0f}"


def markdown(facts, results, ceiling):
    lines = [", ".join(str(v) for v in facts.values()), "",
             "| what | ours | PyTorch | form | ours is faster | TFLOP/s | shares | apart | GB taken |",
             "|---|---|---|---|---|---|---|---|---|"]
    for r in results:
        if "skipped" in r:
            lines.append(f"| {r['case']} | | | {r['skipped']} | | | | | |")
            continue
        rate = f"{r['flops'] / r['ours'] * 1e-12:.0f} | {shares(r['flops'], r['ours'], ceiling)}" if r["flops"] else " | "
        theirs = f"{r['torch'] * 1e3:.3f} ms | {r['form']} | {r['torch'] / r['ours']:.2f} x" if "torch" in r else " | | "
        lines.append(f"| {r['case']} | {r['ours'] * 1e3:.3f} ms | {theirs} | {rate} | {r['apart']:.1e} | "
                     f"{r['bytes'] * 1e-9:.1f} |")
    return "\n".join(lines) + "\n"


def measure(torch, device, options, ours, theirs, name, kind, sizes):
    apart, run, flops, forms = kind(torch, device, ours, sizes)
    if not apart <= TOLERANCE:
        return {"case": name, "skipped": f"WRONG: results are {apart:.2g} apart", "wrong": True}
    result = {"case": name, "flops": flops, "apart": apart}
    if forms is None:
        result["ours"] = statistics.median(run() for _ in range(options.rounds))
    else:
        first = ours.last
        result["form"], call, result["forms"] = theirs.best(forms if theirs.cuda or options.quick else forms[:1])
        try:
            result["ours"], result["torch"] = alternate(theirs, run, call, options.rounds)
        except TooLong:  # what there is: of ours the first run, which is not warm
            ours.again()
            result.update(ours=first, torch=result["forms"][result["form"]], form=result["form"] + ", not in turns")
    return {**result, "bytes": ours.bytes}


def compare(torch, device, options, ours, theirs, name, kind, sizes, seconds):
    torch.manual_seed(1)
    try:
        with limit(seconds):
            return measure(torch, device, options, ours, theirs, name, kind, sizes)
    except Skipped as reason:
        return {"case": name, "skipped": str(reason)}
    except torch.OutOfMemoryError:
        return {"case": name, "skipped": "PyTorch: no memory"}
    except Exception as error:  # what PyTorch may raise is not known; the cases behind this one go on
        return {"case": name, "skipped": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", "wrong": True}
    except TooLong:
        side = "ours" if ours.asked else "PyTorch, or what comes between"
        ours.again()
        return {"case": name, "skipped": f"takes more than {seconds:.0f} s: {side}"}


def known(options, facts):
    """Results of an earlier call on this machine, by case."""
    try:
        with open(options.json, encoding="utf-8") as f:
            old = json.load(f)
    except (OSError, ValueError, TypeError):
        return {}
    same = all(old["machine"].get(key) == facts[key] for key in ("device", "PyTorch"))
    return {r["case"]: r for r in old["results"] if "ours" in r} if same else {}


def ceiling(options):
    """TFLOP/s of a product of bf16 here, if ceilings.py has left them beside the results; 0: not known."""
    try:
        with open(os.path.join(os.path.dirname(options.json), "ceilings.json"), encoding="utf-8") as f:
            return options.ceiling or json.load(f)["product, bfloat16, TFLOP/s"]
    except (OSError, ValueError, TypeError, KeyError):
        return options.ceiling


def write(options, facts, results):
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump({"machine": facts, "results": results}, f, indent=1)
    if options.markdown:
        with open(options.markdown, "w", encoding="utf-8") as f:
            f.write(markdown(facts, results, ceiling(options)))


def scratch():
    """Where files pass between the two sides: in memory, if there is enough of it."""
    memory = "/dev/shm"
    return memory if os.path.isdir(memory) and shutil.disk_usage(memory).free > 4 << 30 else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--json")
    parser.add_argument("--markdown")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", action="append", default=[])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--flex", action="store_true")
    parser.add_argument("--ceiling", type=float, default=0.0)
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    begun = time.monotonic()
    if options.quick:
        options.rounds = 1
        compile_mode.clear()
    if options.flex:
        flex_wanted.append(True)
    chosen = chosen_cases(options)
    if options.dry_run:
        print("\n".join(name for name, _, _ in chosen))
        return 0
    try:
        import torch
    except ImportError:
        sys.exit("bench_model.py: PyTorch is not installed")
    cuda = not options.small
    if cuda and not torch.cuda.is_available():
        sys.exit("bench_model.py: PyTorch finds no GPU")
    device, results = "cuda" if cuda else "cpu", []
    facts = {**machine(torch, cuda), "PyTorch": f"PyTorch {torch.__version__}", "date": str(datetime.date.today())}
    torch.set_default_device(device)  # of what torch_compare.py makes on the way
    signal.signal(signal.SIGALRM, ring)
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        ours, theirs, there = Ours(options.program, device, folder), Theirs(torch, cuda, options.quick), known(options, facts)
        for number, (name, kind, sizes) in enumerate(chosen):
            if name in there:
                results.append(there[name])
                continue
            need = QUICK.get(name, 1) if options.quick else 0
            behind = sum(QUICK.get(c[0], 1) for c in chosen[number + 1:] if c[0] not in there) if options.quick else 0

            def left(more=0):
                return options.seconds - (time.monotonic() - begun) - more
            if left() < need:
                results.append({"case": name, "skipped": f"needs some {need} s, of which {max(left(), 0):.0f} were left"
                                if options.quick else "no time was left"})
                continue
            # What those behind need is theirs, but for what this one needs itself, and as much again if its estimate is bad.
            seconds = min(left(), max(left(behind), 2 * need)) if options.quick else None
            if options.quick:
                theirs.spare = lambda more=behind + need: min(COMPILE_SECONDS, left(more))
            at = time.monotonic()
            results.append(compare(torch, device, options, ours, theirs, name, kind, sizes, seconds))
            results[-1]["took"] = round(time.monotonic() - at, 1)
            print(json.dumps(results[-1]), flush=True)
            write(options, facts, results + [there[c[0]] for c in chosen[len(results):] if c[0] in there])
            try:
                ours.ask("close")
                torch.compiler.reset()
                gc.collect()
                if cuda:
                    torch.cuda.empty_cache()
            except (Skipped, RuntimeError) as error:  # of a GPU that is lost; the next case tells whether it is
                print(f"# after {name}: {error}", file=sys.stderr)
        with contextlib.suppress(BrokenPipeError):
            ours.child.stdin.close()
        ours.child.wait()
    write(options, facts, results)
    return bool(ours.ended) or any(r.get("wrong") for r in results)


if __name__ == "__main__":
    sys.exit(main())
