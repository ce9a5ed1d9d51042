# SPDX-License-Identifier: MIT
"""Times of the kernels beside those of PyTorch and oneDNN, on one core, in alternation.

    compare.py CHECKKERNEL [--core 1] [--rounds 3] [--op NAME]... [--case TEXT] [--isa avx2] [--markdown FILE]

CHECKKERNEL is the program of a release build. Each round times every op by `checkkernel --bench --chosen`, then the
same shapes in PyTorch and in oneDNN; a ratio is the median over the rounds, and so is a share of the peaks, which each
`checkkernel --bench` measures before the op. All count processor time of one thread, so
that other work on the machine disturbs little. PyTorch is imported if the interpreter has it; else it is installed
into a virtual environment in the user's cache folder. oneDNN is used if its headers are installed (Debian:
libdnnl-dev). With --isa avx2 all sides, and the peaks, keep to what a processor with AVX2 and FMA, but without AVX-512, has.
PyTorch's products and convolutions in bf16 then take seconds each, which --case f32 leaves out.
Nothing of this is part of the tests.
"""
import argparse
import datetime
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

OPS = ("matmul", "conv2d", "conv2d_grad_input", "conv2d_grad_weight", "attention", "attention_grad", "norm", "norm_grad",
       "unary", "unary_grad", "glu", "glu_grad", "gated_residual", "gated_residual_grad", "residual_norm",
       "residual_norm_grad", "group_norm_stats", "group_norm_apply", "group_norm_grad_stats", "group_norm_grad_apply", "add",
       "convert", "adamw")
# What PyTorch does in one: its time stands beside the second op's and is compared with that of both.
FIRST_HALF = {"group_norm_apply": "group_norm_stats", "group_norm_grad_apply": "group_norm_grad_stats"}
# What keeps PyTorch, its oneDNN, ours and MKL to a set of instructions, and our variants that do.
ISAS = {"avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2",
                 "MKL_ENABLE_INSTRUCTIONS": "AVX2"}}
VARIANTS = {"avx2": "portable,packed,avx2"}
SECONDS_EACH, RUNS_MIN, RUNS_MAX = 0.12, 3, 200


def enter_venv(isa=None):
    """Go on in an interpreter that has PyTorch, with an allocator that keeps what was freed: a result in new memory
    would be timed with its page faults, which our outputs, made once, do not have."""
    keep = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_TOP_PAD_": str(1 << 26)}
    keep.update(ISAS.get(isa, {}))
    try:
        import torch  # noqa: F401
        if any(os.environ.get(name) != value for name, value in keep.items()):
            os.execve(sys.executable, [sys.executable] + sys.argv, dict(os.environ, **keep))
        return
    except ImportError:
        pass
    cache = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    folder = os.path.join(cache, "libmoviegen-compare")
    python = os.path.join(folder, "bin", "python3")
    if os.environ.get("LIBMOVIEGEN_COMPARE") == folder:
        sys.exit("compare.py: PyTorch cannot be imported from " + folder)
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "torch", "numpy"], check=True)
    os.execve(python, [python] + sys.argv, dict(os.environ, LIBMOVIEGEN_COMPARE=folder, **keep))


def best_time(call):
    """Of several runs, after one that warms up."""
    call()
    best, start, runs = float("inf"), time.thread_time(), 0
    while runs < RUNS_MAX and (runs < RUNS_MIN or time.thread_time() - start < SECONDS_EACH):
        before = time.thread_time()
        call()
        best = min(best, time.thread_time() - before)
        runs += 1
    return best


# ---- PyTorch: for each op, a function that makes the data of a case and returns what to time ----

def values(torch, dtype, *shape):
    """Random, but quick to make: a short sequence repeated."""
    count = 1
    for size in shape:
        count *= size
    short = torch.randn(min(count, 1 << 16))
    return short.repeat((count + short.numel() - 1) // short.numel())[:count].view(shape).to(dtype)


def numbers(case):
    return [int(word) for word in re.findall(r"\d+", case.rsplit(" ", 1)[0])]


def torch_matmul(torch, case, dtype):
    m, n, k = numbers(case)
    a = values(torch, dtype, k, m).t() if "A'" in case else values(torch, dtype, m, k)
    b = values(torch, dtype, n, k).t() if "B'" in case else values(torch, dtype, k, n)
    c = torch.empty(m, n, dtype=dtype)
    return lambda: torch.mm(a, b, out=c)


def torch_conv2d(torch, case, dtype):
    n, size, _, channels = numbers(case)
    last = {"memory_format": torch.channels_last}
    x = values(torch, dtype, n, channels, size, size).contiguous(**last)
    y = values(torch, dtype, n, channels, size, size).contiguous(**last)
    w = values(torch, dtype, channels, channels, 3, 3).contiguous(**last)
    bias = values(torch, dtype, channels)
    if "forward" in case:
        return lambda: torch.conv2d(x, w, bias, padding=1)
    wanted = [True, False, False] if "input" in case else [False, True, False]
    return lambda: torch.ops.aten.convolution_backward(y, x, w, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, wanted)


def torch_attention(torch, case, dtype, grad=False):
    batch, heads, dim, queries, keys = numbers(case)

    def tokens(count):
        return values(torch, dtype, batch, count, heads, dim).transpose(1, 2)
    q, k, v, do = tokens(queries), tokens(keys), tokens(keys), tokens(queries)
    attend = torch.nn.functional.scaled_dot_product_attention
    if not grad:
        return lambda: attend(q, k, v)
    inputs = [t.requires_grad_() for t in (q.detach(), k.detach(), v.detach())]
    out = attend(*inputs)
    return lambda: torch.autograd.grad(out, inputs, do, retain_graph=True)


def graded(torch, function, inputs, dtype):
    """The gradient of a function written with several PyTorch ops."""
    inputs = [t.detach().requires_grad_() for t in inputs]
    out = function(*inputs)
    dy = values(torch, dtype, *out.shape)
    return lambda: torch.autograd.grad(out, inputs, dy, retain_graph=True)


def torch_norm(torch, case, dtype, grad=False):
    rows, dim = numbers(case)
    x, w = values(torch, dtype, rows, dim), values(torch, dtype, dim)

    def norm(x, w):
        return torch.nn.functional.rms_norm(x, (dim,), w, 1e-5)
    return graded(torch, norm, [x, w], dtype) if grad else lambda: norm(x, w)


def torch_residual_norm(torch, case, dtype, grad=False):
    rows, dim = numbers(case)
    samples = rows // 8192
    x, h = (values(torch, dtype, samples, 8192, dim) for _ in range(2))
    gate, w = values(torch, dtype, samples, 1, dim), values(torch, dtype, dim)

    def both(x, h, gate, w):
        r = torch.addcmul(x, gate, h)
        return r, torch.nn.functional.rms_norm(r, (dim,), w, 1e-5)
    if not grad:
        return lambda: both(x, h, gate, w)
    inputs = [t.detach().requires_grad_() for t in (x, h, gate, w)]
    out, given = both(*inputs), [values(torch, dtype, samples, 8192, dim) for _ in range(2)]
    return lambda: torch.autograd.grad(out, inputs, given, retain_graph=True)


def torch_group_norm(torch, case, dtype, grad=False):
    """With SiLU, of channels-last frames that are 512 pixels wide; the statistics are part of it."""
    n, pixels, channels, groups = numbers(case)
    x = values(torch, dtype, n, pixels // 512, 512, channels).permute(0, 3, 1, 2)
    w, b = values(torch, dtype, channels), values(torch, dtype, channels)

    def norm(x, w, b):
        return torch.nn.functional.silu(torch.nn.functional.group_norm(x, groups, w, b, 1e-5))
    if not grad:
        return lambda: norm(x, w, b)
    inputs = [t.detach().requires_grad_() for t in (x, w, b)]
    out = norm(*inputs)
    dy = values(torch, dtype, n, pixels // 512, 512, channels).permute(0, 3, 1, 2)
    return lambda: torch.autograd.grad(out, inputs, dy, retain_graph=True)


def torch_unary(torch, case, dtype, grad=False):
    x = values(torch, dtype, *numbers(case))
    if grad:
        dy = values(torch, dtype, *x.shape)
        return lambda: torch.ops.aten.gelu_backward(dy, x, approximate="tanh")
    return lambda: torch.nn.functional.gelu(x, approximate="tanh")


def torch_glu(torch, case, dtype, grad=False):
    rows, dim = numbers(case)
    x = values(torch, dtype, rows, 2 * dim)

    def glu(x):
        return torch.nn.functional.silu(x[:, :dim]) * x[:, dim:]
    return graded(torch, glu, [x], dtype) if grad else lambda: glu(x)


def torch_gated_residual(torch, case, dtype, grad=False):
    rows, dim = numbers(case)
    samples = rows // 8192
    x, h = (values(torch, dtype, samples, 8192, dim) for _ in range(2))
    gate = values(torch, dtype, samples, 1, dim)
    if grad:
        dy = values(torch, dtype, samples, 8192, dim)
        return lambda: (gate * dy, (dy * h).sum(1))
    return lambda: torch.addcmul(x, gate, h)


def torch_add(torch, case, dtype):
    a, b = (values(torch, dtype, *numbers(case)) for _ in range(2))
    out = torch.empty_like(a)
    return lambda: torch.add(a, b, out=out)


def torch_convert(torch, case, _):
    shape = [int(n) for n in case.split()[-1].split("x")]
    f32 = torch.float32
    source, target = (f32, torch.bfloat16) if case.startswith("f32") else (torch.bfloat16, f32)
    x, y = values(torch, source, *shape), torch.empty(*shape, dtype=target)
    return lambda: y.copy_(x)


def torch_adamw(torch, case, dtype):
    w = values(torch, dtype, *numbers(case))
    w.grad = values(torch, dtype, *w.shape)
    optimizer = torch.optim.AdamW([w], lr=1e-4, fused=True)
    return optimizer.step


def torch_call(torch, op, case):
    dtype = torch.bfloat16 if case.endswith("bf16") else torch.float32
    if op.startswith("conv2d"):
        return torch_conv2d(torch, case, dtype)
    if op in FIRST_HALF:
        return torch_group_norm(torch, case, dtype, "grad" in op)
    grad = op.endswith("_grad")
    make = globals()["torch_" + (op[:-5] if grad else op)]
    return make(torch, case, dtype, True) if grad else make(torch, case, dtype)


# ---- oneDNN ----

def build_onednn(folder):
    """The driver beside this file, or None where oneDNN is not installed."""
    program = os.path.join(folder, "onednn")
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "onednn.c")
    command = [os.environ.get("CC", "cc"), "-O2", "-o", program, source, "-ldnnl", "-lm"]
    return program if subprocess.run(command, capture_output=True, check=False).returncode == 0 else None


def onednn_times(program, op, cases):
    if not program or op not in ("matmul", "conv2d"):
        return {}
    env = dict(os.environ, OMP_NUM_THREADS="1")
    run = subprocess.run([program, op] + cases, capture_output=True, text=True, env=env, check=False)
    pairs = [line.split("\t") for line in run.stdout.splitlines() if "\t" in line]
    return {case: float(seconds) for case, seconds in pairs}


def onednn_version(program):
    return subprocess.run([program, "version"], capture_output=True, text=True, check=False).stdout.strip()


# ---- rounds and table ----

def our_times(checkkernel, op, folder, isa=None, case=None):
    path = os.path.join(folder, "times.json")
    only = (["--variant", VARIANTS[isa]] if isa else []) + (["--case", case] if case else [])
    subprocess.run([checkkernel, "--bench", "--chosen", "--op", op, "--json", path] + only, check=True,
                   stdout=subprocess.DEVNULL)
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def with_halves(ops):
    """First halves are timed before the ops whose rows count them, too."""
    first = [FIRST_HALF[op] for op in ops if op in FIRST_HALF]
    return first + [op for op in ops if op not in first]


def run_round(torch, options, folder, driver, results, peaks):
    for op in with_halves(options.op) if options.op else OPS:
        ours = our_times(options.checkkernel, op, folder, options.isa, options.case)
        for name in ("f32", "bf16", "copy", "in_place", "read", "write"):
            peaks[name] = max(peaks.get(name, 0), ours[name])
        plain = [line["case"] for line in ours["times"] if not line["case"].endswith(" gated")]  # no single call there is
        others = onednn_times(driver, op, plain)
        for line in ours["times"]:
            entry = results.setdefault((op, line["case"]),
                                       {"line": line, "ours": [], "halves": [], "torch": [], "onednn": [], "peak": [],
                                        "streams": []})
            entry["ours"].append(line["seconds"])
            first = results.get((FIRST_HALF.get(op), line["case"]), {"ours": [0]})
            entry["halves"].append(line["seconds"] + first["ours"][-1])
            entry["line"] = line
            for name, share in shares(line, ours).items():
                entry[name].append(share)
            if line["case"] not in plain or op in FIRST_HALF.values():
                continue
            try:
                entry["torch"].append(best_time(torch_call(torch, op, line["case"])))
            except (RuntimeError, NotImplementedError) as error:
                print(f"# PyTorch: {op} {line['case']}: {str(error).splitlines()[0]}", file=sys.stderr)
            if line["case"] in others:
                entry["onednn"].append(others[line["case"]])


def median_ratio(other, ours):
    return f"{statistics.median(a / b for a, b in zip(other, ours)):.2f}" if other else ""


def milliseconds(times):
    return f"{1e3 * min(times):.3f}" if times else ""


def shares(line, peaks):
    """Of the peaks that were measured just before, as processors' clocks change."""
    compute = line["flops"] / (max(peaks["f32"], peaks["bf16"]) if "bf16" in line["case"] else peaks["f32"])
    copying = line["bytes"] / peaks["in_place" if line["inside"] else "copy"]
    streams = max(line["in"] / peaks["read"], (line["bytes"] - line["in"]) / peaks["write"])
    return {"peak": max(compute, copying) / line["seconds"], "streams": streams / line["seconds"]}


def percent(values):
    return f"{100 * statistics.median(values):.0f} %"


def table(results):
    yield "| op | case | variant | ms | rate | of peak | of streams | PyTorch ms | ratio | oneDNN ms | ratio |"
    yield "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for (op, case), entry in results.items():
        line, best = entry["line"], min(entry["ours"])
        rate = f"{line['flops'] / best * 1e-9:.0f} GFLOP/s" if line["flops"] else f"{line['bytes'] / best * 1e-9:.1f} GB/s"
        yield (f"| {op} | {case} | {line['variant']} | {1e3 * best:.3f} | {rate} | "
               f"{percent(entry['peak'])} | "
               f"{'' if line['flops'] else percent(entry['streams'])} | {milliseconds(entry['torch'])} | "
               f"{median_ratio(entry['torch'], entry['halves'])} | {milliseconds(entry['onednn'])} | "
               f"{median_ratio(entry['onednn'], entry['ours'])} |")


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        return next(line.split(":", 1)[1].strip() for line in f if line.startswith("model name"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkkernel")
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--op", action="append")
    parser.add_argument("--case", help="part of the names of the cases to time")
    parser.add_argument("--isa", choices=ISAS)
    parser.add_argument("--markdown")
    options = parser.parse_args()
    enter_venv(options.isa)
    os.sched_setaffinity(0, {options.core})
    import torch
    torch.set_num_threads(1)
    results, peaks = {}, {}
    folder = tempfile.mkdtemp()
    try:
        driver = build_onednn(folder)
        for _ in range(options.rounds):
            run_round(torch, options, folder, driver, results, peaks)
        own = onednn_version(driver) if driver else "none"
    finally:
        shutil.rmtree(folder)
    inside = re.search(r"MKL-DNN v([\w.]+)", torch.__config__.show())
    lines = [f"{processor()}{', ' + options.isa if options.isa else ''}, one core; {datetime.date.today()}; PyTorch {torch.__version__} (with oneDNN "
             f"{inside.group(1) if inside else '?'}); oneDNN {own}; {options.rounds} rounds.",
             f"Peaks of the core: {peaks['f32'] * 1e-9:.0f} GFLOP/s f32, {peaks['bf16'] * 1e-9:.0f} GFLOP/s bf16, "
             f"{peaks['copy'] * 1e-9:.1f} GB/s copying, {peaks['in_place'] * 1e-9:.1f} in place, "
             f"{peaks['read'] * 1e-9:.1f} reading, {peaks['write'] * 1e-9:.1f} writing.", ""] + list(table(results))
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if options.markdown:
        with open(options.markdown, "w", encoding="utf-8") as f:
            f.write(text)


if __name__ == "__main__":
    main()
