# SPDX-License-Identifier: MIT
"""Faults planted in kernels for GPUs: each must be caught where the host plays the GPU.

    kernel_mutations.py ROOT BUILD_FOLDER        prints TAP

BUILD_FOLDER was set up with -Dcuda=emulated and is built. A fault is an edit of a copy of one file; the kernels that
read it are compiled anew and checkkernel, or a unit test, is linked with them and must fail, which without the fault
it must not.
"""
import os
import re
import shlex
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tap import Report  # noqa: E402

# (what, file, old, new, kernels to compile, checkkernel's op, its variant and more options: cuda and 12 cases); a fault is put wherever `old` stands,
# several edits as tuples
KERNEL_FAULTS = [
    ("a write behind the end of a buffer", "kernels/common/cuda.h", "i < (count); ", "i <= (count);", ["kernels/layout/pad_cuda.cu"], "pad"),
    ("a read behind the end of a buffer", "kernels/common/cuda.h", "i < n; i += blockDim.x", "i <= n; i += blockDim.x", ["kernels/loss/loss_cuda.cu"],
     "loss"),
    ("a barrier missing after a warp's sum", "kernels/common/cuda.h", "scratch[threadIdx.x / MGK_WARP] = x;\n    __syncthreads();",
     "scratch[threadIdx.x / MGK_WARP] = x;", ["kernels/loss/loss_cuda.cu"], "loss"),
    ("a barrier missing between the two buffers of a product", "kernels/common/cuda_gemm.h",
     "__syncthreads(); /* also: all are done with the other buffer */", "", ["kernels/matmul/matmul_cuda.cu"], "matmul"),
    ("a barrier that a part of the threads do not reach", "kernels/common/cuda.h", "scratch[threadIdx.x / MGK_WARP] = x;\n    __syncthreads();",
     "scratch[threadIdx.x / MGK_WARP] = x;\n    if (lane == 0)\n        __syncwarp();\n    else\n        __syncthreads();", ["kernels/loss/loss_cuda.cu"],
     "loss"),
]
HOPPER, WARPGROUPS = "kernels/common/hopper.h", "kernels/common/cuda_warpgroups.h"
PRODUCT, ATTENTION = "kernels/matmul/matmul_sm90.cu", "kernels/attention/attention_sm90.cu"
STAGES, PRODUCTS = "kernels/common/cuda_products.h", "kernels/matmul/matmul_warpgroups.h"
# (what, file, old, new) of kernels by warpgroups, with a case that has edges and several tiles a block
PRODUCT_CASES = ["--case", "bf16 388x392x136"]
PRODUCT_FAULTS = [
    ("factors without a swizzle", HOPPER, "<< 32 | (uint64_t)1 << 62;", "<< 32;"),
    ("groups of rows of a factor too close together", HOPPER, "mgk_wgmma_factor(tile, 16, 8 * MGK_PANEL_ROW)", "mgk_wgmma_factor(tile, 16, 4 * MGK_PANEL_ROW)"),
    ("a stage that is not given back", STAGES, "mgk_wgmma_wait<1>();\n                give_back(last);", "mgk_wgmma_wait<1>();"),
    ("a stage that is given back before it was read", STAGES, "mgk_wgmma_wait<1>();", ""),
    ("a stage that is given back to one block of two", STAGES, "if (me.lane < S::CLUSTER)", "if (me.lane < 1)"),
    ("columns that are copied to one block of two", STAGES, "(1u << S::CLUSTER) - 1", "1u"),
    ("the parity of the phase before", STAGES, "block.barrier(S::FULL, stage->index), stage->parity",
     "block.barrier(S::FULL, stage->index), stage->parity ^ 1"),
    ("a stage that is filled before it is empty", PRODUCTS, "mgk_barrier_wait(this->barrier(S::EMPTY, s.index), s.parity ^ 1);", ""),
    ("a product without a fence", STAGES, "mgk_wgmma_fence();", ""),
    ("sums that are read before they are written", STAGES, "            }\n        __syncwarp();", "            }"),
    ("a row written below the last one", PRODUCTS, "if (i + 4 * r >= g.m)", "if (i + 4 * r > g.m)"),
    ("barriers that are used before all blocks have made theirs", WARPGROUPS, "if (BLOCKS > 1)\n        mgk_cluster_sync();\n    else\n        __syncthreads();", ""),
    ("blocks of a cluster that do not end together", WARPGROUPS, "if (BLOCKS > 1)\n        mgk_cluster_sync();\n}", "}"),
]
ATTENTION_CASES = ["--case", "bf16 batch 2 heads 1 dim 64 sq 193 sk 129 separate"]
ATTENTION_FAULTS = [
    ("scores that are read before they are there", ATTENTION, "mgk_wgmma_wait<1>();", ""),
    ("values that are given back before they were read", ATTENTION, "mgk_wgmma_wait<0>();\n        mgk_wgmma_hold(o);", "mgk_wgmma_hold(o);"),
    ("queries that are not given back", ATTENTION, "me.arrive(w.barrier(S::Q_EMPTY));", ""),
    ("a turn that is not passed on", ATTENTION, "begin_values(last.index);\n            me.pass_turn(S::GROUPS);", "begin_values(last.index);"),
    ("the parity of the values before", ATTENTION, "w.barrier(S::V_FULL, last.index), last.parity", "w.barrier(S::V_FULL, last.index), last.parity ^ 1"),
    ("a row of queries written below the last one", "kernels/attention/attention_sm90.h", "8 * half >= rows_left", "8 * half > rows_left"),
]
CODES = "kernels/fp8/matmul_fp8_sm90.cu"
CODES_CASES = ["--case", "bf16 388x392x144"]
CODES_FAULTS = [
    ("codes of the instruction before", HOPPER, "step % 4 * 32;", "step % 4 * 16;"),
    ("a stage of codes that is not given back", CODES, "this->give_back(stage->index);", "continue;"),
    ("sums of codes that are added before they are there", CODES, "mgk_wgmma_wait<0>();", ""),
    ("a turn to multiply codes that is not passed on", CODES, "p * COLUMNS);\n                me.pass_turn(S::GROUPS);", "p * COLUMNS);"),
    ("codes of the phase before", CODES, "w.barrier(S::FULL, stage->index), stage->parity", "w.barrier(S::FULL, stage->index), stage->parity ^ 1"),
    ("scales of rows taken for those of columns", CODES, "p.a_scale = (const float *)g->a_scale.p;", "p.a_scale = (const float *)g->b_scale.p;"),
    ("bytes of codes that nobody waits for", PRODUCTS, "S::A_BYTES + S::B_BYTES);", "S::B_BYTES);"),
    ("bytes of codes that never come", PRODUCTS, "S::A_BYTES + S::B_BYTES);", "S::A_BYTES + 2 * S::B_BYTES);"),
    ("a row's scale forgotten", PRODUCTS, "w.p.a_scale[i] * ", ""),
]
# with a case of long k, all of whose products are positive
LONG_SUMS_CASES = ["--case", "f32 128x128x1008"]
LONG_SUMS = ("sums of all of k left to the tensor core", CODES, ("float part[COLUMN_SUMS];", "step > 0);", "sums[p * COLUMN_SUMS + i] += part[i];"),
             ("float(&part)[COLUMN_SUMS] = *(float(*)[COLUMN_SUMS])(sums + p * COLUMN_SUMS);", "true);", ";"))
# with a case of narrow tiles
CODES_GIVEN_BACK = (
    "a stage of codes that is given back before it was read", CODES,
    "mgk_wgmma_wait<0>();\n                mgk_wgmma_hold(part);\n                if (p == S::N / COLUMNS - 1)\n                    this->give_back(stage->index);",
     "if (p == S::N / COLUMNS - 1)\n                    this->give_back(stage->index);\n                mgk_wgmma_wait<0>();\n                mgk_wgmma_hold(part);")
KERNEL_FAULTS += [(*CODES_GIVEN_BACK, [CODES], "matmul_fp8", "sm90", ["--case", "bf16 264x264x144"])]
KERNEL_FAULTS += [(*LONG_SUMS, [CODES], "matmul_fp8", "sm90", LONG_SUMS_CASES)]
KERNEL_FAULTS += [(*fault, [CODES], "matmul_fp8", "sm90", CODES_CASES) for fault in CODES_FAULTS]
KERNEL_FAULTS += [(*fault, [PRODUCT], "matmul", "sm90", PRODUCT_CASES) for fault in PRODUCT_FAULTS]
KERNEL_FAULTS += [(*fault, [ATTENTION], "attention", "sm90", ATTENTION_CASES) for fault in ATTENTION_FAULTS]
CONV, CONV_TILES = "kernels/conv2d/conv2d_sm90.cu", "kernels/conv2d/conv2d_sm90.h"
# (what, file, old, new, op, case)
CONV_FAULTS = [
    ("a pixel written beside the picture", CONV, "to.j >= c.form.out_w", "to.j > c.form.out_w", "conv2d", "forward bf16 3x2x3x64"),
    ("places of the kernel that are not turned round", CONV, "S::TB ? place : places - 1 - place", "place", "conv2d_grad_input", "grad_input bf16 3x2x3x64"),
    ("rows outside that are not the nearest", CONV_TILES, "return i < 0 ? 0 : i >= f->in_h ? (int32_t)f->in_h - 1 : i;", "return i;", "conv2d", "forward bf16 2x3x15x64"),
    ("a first row that does not stand for padding", CONV_TILES, "r.first -= f->above;\n            r.count += f->above;", "", "conv2d_grad_input",
     "grad_input bf16 2x3x15x64"),
    ("blocks of a cluster that make different numbers of steps", CONV, "rank < S::CLUSTER; rank++", "rank < 1; rank++", "conv2d_grad_input",
     "grad_input bf16 1x4x5x176"),
    ("rows of the other block that are not zeros", CONV, "row < own.count ? to.image : (int32_t)f.images", "to.image", "conv2d_grad_input",
     "grad_input bf16 1x4x5x176"),
    ("columns that are not a stride apart", CONV, "step[] = {f->step_w, f->step_h}", "step[] = {1, f->step_h}", "conv2d", "forward bf16 1x7x9x64"),
    ("pictures beside each other in the wrong order", CONV_TILES, "row >> (p->log_w + p->log_h)", "row >> p->log_w", "conv2d", "forward bf16 3x2x3x64"),
    ("rows of a warpgroup that the other one has", STAGES, "const int part = me.group * S::PIECES + piece;", "const int part = me.group + piece;", "conv2d",
     "forward bf16 3x2x3x64"),
]
WEIGHTS = "kernels/conv2d/conv2d_grad_weight_sm90.cu"
# (what, file, old, new, case) of the gradient of the weights
WEIGHT_FAULTS = [
    ("patches that do not go on", CONV_TILES, "first->j += 1 << p->log_w;", "", "grad_weight bf16 1x3x66x112"),
    ("a part that begins where the one before does", WEIGHTS, "t.first = t.part * patches;", "t.first = 0;", "grad_weight bf16 1x3x66x112"),
    ("the bias of the other warpgroup", WEIGHTS, "of.me.group * S::K * MGK_PANEL_ROW", "0", "grad_weight bf16 1x3x66x112"),
    ("the bias from a stage that was given back", STAGES, "more(stage->index);\n            if (step > 0) {\n                mgk_wgmma_wait<1>();\n                give_back(last);",
     "if (step > 0) {\n                mgk_wgmma_wait<1>();\n                give_back(last);\n                more(last);", "grad_weight bf16 1x3x66x112"),
    ("channels of y that the other block has", WEIGHTS, "S::CLUSTER + (int32_t)this->rank", "S::CLUSTER", "grad_weight bf16 1x1x40x192"),
    ("rows of x that are not a stride apart", WEIGHTS, "patch.i * f.step_h + p", "patch.i + p", "grad_weight bf16 1x3x5x112"),
]
KERNEL_FAULTS += [(*fault, [CONV], op, "sm90", ["--case", case]) for *fault, op, case in CONV_FAULTS]
KERNEL_FAULTS += [(*fault, [WEIGHTS], "conv2d_grad_weight", "sm90", ["--case", case]) for *fault, case in WEIGHT_FAULTS]
# (what, header, old, new, unit test)
LAYOUT_FAULTS = [
    ("a wrong swizzle of shared memory", "kernels/common/hopper.h", r"(MGK_PURE uint32_t mgk_swizzle128\(uint32_t address\)\s*\{.*?return )(.*?);",
     r"\1(\2) ^ ((address >> 11 & 1) << 4);", "tests/unit/test_hopper.c"),
]


def run(command, **more):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, **more)


def command_of(build, target):
    return shlex.split(run(["ninja", "-C", build, "-t", "commands", target]).stdout.splitlines()[-1])


def overlay(root, folder, file, edit):
    """A copy of the file, edited, at the front of the search for headers."""
    with open(os.path.join(root, file), encoding="utf-8") as f:
        text = f.read()
    changed = edit(text)
    if changed == text:
        raise RuntimeError(f"{file} has not what is to be edited")
    target = os.path.join(folder, file)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "w", encoding="utf-8") as f:
        f.write(changed)


def compiled(root, build, folder, source):
    """The kernel's object, with the overlay's headers."""
    name = os.path.basename(source) + ".o"
    command = command_of(build, name)
    command[command.index("-o") + 1] = os.path.join(folder, name)
    command[command.index("-MF") + 1] = os.path.join(folder, name + ".d")
    at = next(i for i, word in enumerate(command) if word.startswith("-I"))
    command.insert(at, f"-I{folder}")
    edited = os.path.join(folder, source)
    if os.path.exists(edited):
        command[command.index("-c") + 1] = edited
    done = run([w for w in command if w != "-Werror"], cwd=build)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return os.path.join(folder, name)


def linked(build, folder, objects):
    """checkkernel, in which these objects take the place of the archive's."""
    command = command_of(build, "tests/kernels/checkkernel")
    program = os.path.join(folder, "checkkernel")
    command[command.index("-o") + 1] = program
    # of several definitions the first counts
    done = run([command[0], *objects, "-Wl,--allow-multiple-definition", *command[1:]], cwd=build)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return program


def check(program, op, variant="cuda", options=("--cases", "12")):
    return run([program, "--op", op, "--variant", variant, *options])


def replaced(text, old, new):
    for before, after in zip(*([x] if isinstance(x, str) else x for x in (old, new))):
        if before not in text:
            raise RuntimeError(f"'{before}' is not there")
        text = text.replace(before, after)
    return text


def kernel_fault(cases, root, build, fault, sound):
    what, file, old, new, sources, *of = fault
    op, cases_of = of[0] + " " + "".join(of[1:2]), str(of)
    if cases_of not in sound:
        sound[cases_of] = check(os.path.join(build, "tests/kernels/checkkernel"), *of).returncode == 0
    with tempfile.TemporaryDirectory() as folder:
        overlay(root, folder, file, lambda text: replaced(text, old, new))
        program = linked(build, folder, [compiled(root, build, folder, s) for s in sources])
        done = check(program, *of)
        cases.result(f"{what}: caught by checkkernel of {op.strip()}",
                     "it fails without the fault" if not sound[cases_of] else "" if done.returncode else "nothing was noticed\n" + done.stdout[-2000:])


def unit_test(root, folder, source):
    program = os.path.join(folder, "unit")
    done = run([os.environ.get("CC", "cc"), "-std=gnu17", "-O1", "-D_GNU_SOURCE", f"-I{folder}", f"-I{root}", f"-I{root}/lib", f"-I{root}/include",
                os.path.join(root, source), "-o", program, "-lcmocka", "-lm"])
    if done.returncode:
        raise RuntimeError(done.stderr)
    return run([program])


def layout_fault(cases, root, fault):
    what, file, old, new, source = fault
    name = f"{what}: caught by {os.path.basename(source)}"
    if not os.path.exists(os.path.join(root, source)):
        cases.skip(name, f"{source} is not here")
        return
    with tempfile.TemporaryDirectory() as folder:
        if unit_test(root, folder, source).returncode:
            cases.result(name, "it fails without the fault")
            return
        overlay(root, folder, file, lambda text: re.sub(old, new, text, count=1, flags=re.S))
        done = unit_test(root, folder, source)
        cases.result(name, "" if done.returncode else "nothing was noticed")


def main():
    root, build = (os.path.abspath(a) for a in sys.argv[1:3])
    cases, sound = Report(), {}
    for fault in KERNEL_FAULTS:
        kernel_fault(cases, root, build, fault, sound)
    for fault in LAYOUT_FAULTS:
        layout_fault(cases, root, fault)
    return cases.end()


if __name__ == "__main__":
    sys.exit(main())
