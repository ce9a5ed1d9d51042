# SPDX-License-Identifier: MIT
"""Reports, planning, evaluation, curation."""
import json
from contextlib import ExitStack
from ctypes import byref, c_void_p
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional

from ._abi import DONE_TOTAL, CurateParams, EvalParams, PlanParams, callback, lib
from ._buffers import SCHEDULES, SOLVERS, function_of, number_of, text_of
from ._handles import answer, given, here
from .context import Context, Path, core_of, path_of
from .models import Roles, roles_of

if TYPE_CHECKING:
    from .pipeline import Pipeline
    from .training import Dataset

#: Named numbers.
Report = Dict[str, float]


def report_of(handle: Any) -> Report:
    """The numbers of an mgen_report."""
    return {lib.mgen_report_name(handle, i).decode(): lib.mgen_report_value(handle, i)
            for i in range(lib.mgen_report_count(handle))}


def report_taken(handle: Any) -> Report:
    """The same, of a report that is ours to destroy."""
    try:
        return report_of(handle)
    finally:
        lib.mgen_report_destroy(handle)


def plan(context: Context, preset: str, *, width: int, height: int, frames: int, batch: int = 0,
         recompute: Optional[str] = None, precision: Optional[str] = None, text_tokens: int = 0) -> Report:
    """What one training step of a video transformer of the report's sizes ("1b", "5b", "30b"; "7b": its upsampler,
    whose frames are latent frames; "13b": its audio model, whose frames are latents of sound and whose width and height
    are 0) needs. recompute: "none", "selective" or "full"; precision: "bf16" or "f32"."""
    params = PlanParams(preset=text_of(preset, "preset"), recompute=text_of(recompute, "recompute"),
                        precision=text_of(precision, "precision"), batch=batch, width=width, height=height,
                        frames=frames, text_tokens=text_tokens)
    out = c_void_p()
    core_of(context).call(lib.mgen_plan_training, byref(params), byref(out))
    return report_taken(out.value)


def _plan_text(context: Context, params: PlanParams) -> Dict[str, Any]:
    out = c_void_p()
    core_of(context).call(lib.mgen_plan_training, byref(params), byref(out))
    try:
        plan_as_json: Dict[str, Any] = json.loads(lib.mgen_report_text(out.value))
        return plan_as_json
    finally:
        lib.mgen_report_destroy(out)


def plan_mesh(context: Context, preset: str, *, gpus: int, gpu: str = "h100-80gb", mesh: Optional[str] = None,
              width: int, height: int, frames: int, batch: int = 0, global_batch: int = 0,
              recompute: Optional[str] = None, precision: Optional[str] = None, text_tokens: int = 0,
              timeline: bool = False) -> Dict[str, Any]:
    """The same on a mesh of GPUs, with time and communication. gpu may be followed by other rates, as in
    "h100-80gb,attention=0.5"; mesh: "dp=2,cp=1,tp=4", None for the best; recompute: None for the first that fits."""
    params = PlanParams(preset=text_of(preset, "preset"), recompute=text_of(recompute, "recompute"),
                        precision=text_of(precision, "precision"), batch=batch, width=width, height=height,
                        frames=frames, text_tokens=text_tokens, gpus=gpus, global_batch=global_batch,
                        gpu=text_of(gpu, "gpu"), mesh=text_of(mesh, "mesh"), text=1, timeline=int(timeline))
    return _plan_text(context, params)


def plan_recipe(context: Context, recipe: str, stage: str = "", *, gpus: int = 0, gpu: str = "h100-80gb",
                mesh: Optional[str] = None, batch: int = 0, recompute: Optional[str] = None,
                text_tokens: int = 0) -> Dict[str, Any]:
    """What the stages of a recipe, or one of them, need: mesh, memory, the time of a step, days. gpus: 0 for those that each
    stage is meant for. batch: samples of a dp rank in a pass, 0 for as many as is meant."""
    params = PlanParams(preset=text_of(f"{recipe}:{stage}", "recipe"), recompute=text_of(recompute, "recompute"), batch=batch,
                        text_tokens=text_tokens, gpus=gpus, gpu=text_of(gpu, "gpu"), mesh=text_of(mesh, "mesh"), text=1)
    return _plan_text(context, params)


@callback(DONE_TOTAL)
def _on_progress(user: int, done: int, total: int) -> int:
    return answer(_tell, done, total)


def _tell(done: int, total: int) -> None:
    if here.on_progress is not None:
        here.on_progress(done, total)


def evaluate(pipeline: "Pipeline", protocol: str, *, n: int = 0, seed: int = 0, steps: int = 0, guidance: float = 0.0,
             schedule: str = "linear_quadratic", solver: str = "euler", guidance_from: float = 0.0, guidance_to: float = 0.0,
             drop_text: Roles = (), noise_scale: float = 0.0, on_progress: Optional[Callable[[int, int], Any]] = None,
             dataset: Optional["Dataset"] = None, context: Optional[Context] = None) -> Report:
    """Measure a pipeline in the toybox by the protocol "tae" (reconstruction), "alignment" (prompts against what is
    seen in the clips), "frechet" (how far clips are, as a set, from true ones), "upsample" (enlarged clips against scenes
    drawn large), "edit" (edited clips against scenes drawn as the instruction says), "sound" (sounds made for clips
    against what is to be heard there), "personalize" (whether the person of a photo, and what the prompt says, is seen in
    clips made from it), "rewrite" (alignment with prompts as one types them, rewritten and not) or "curate" (of no model:
    what curate() finds in raw films whose defects are known).
    Of requests it has what Pipeline's have. on_progress(done, total) comes after each batch; raising, or control-C, ends it.
    dataset: what "tae" reproduces, and "frechet" compares with, instead of toybox clips (n=0: all of it)."""
    params = EvalParams(protocol=text_of(protocol, "protocol"), n=n, seed=seed, steps=steps, guidance=guidance,
                        schedule=number_of(SCHEDULES, schedule, "schedule"), solver=number_of(SOLVERS, solver, "solver"),
                        guidance_from=guidance_from, guidance_to=guidance_to, drop_text=roles_of(drop_text),
                        noise_scale=noise_scale,
                        on_progress=_on_progress)
    out = c_void_p()
    before, here.on_progress = here.on_progress, function_of(on_progress, "on_progress")
    try:
        with ExitStack() as stack:
            pipe = stack.enter_context(pipeline._held())
            if dataset is not None:
                params.dataset = stack.enter_context(given(dataset, "dataset", "dataset")._core.hold())
            core_of(context or pipeline.context).call_long(lib.mgen_evaluate, pipe, byref(params), byref(out))
    except BaseException:
        lib.mgen_report_destroy(out)
        raise
    finally:
        here.on_progress = before
    return report_taken(out.value)


def curate(context: Context, directory: Path, *, rules: Optional[Path] = None, out: Optional[Path] = None,
           on_progress: Optional[Callable[[int, int], Any]] = None) -> Report:
    """Find the clips of a folder's films that are worth training on, and write them to out (None: clips.jsonl in the
    folder, where Dataset.from_folder() finds them), a line of JSON for each clip. rules: "report" (None means it),
    "toybox", or the path of a file of thresholds. on_progress(done, total) comes after each film; raising, or control-C,
    ends it, and the same call goes on from there. The report says how many films and clips are left after each step;
    NotFoundError if no clip is kept, which names the rules that drop most."""
    params = CurateParams(dir=path_of(directory), rules=None if rules is None else path_of(rules),
                          out=None if out is None else path_of(out), on_progress=_on_progress)
    handle = c_void_p()
    before, here.on_progress = here.on_progress, function_of(on_progress, "on_progress")
    try:
        core_of(context).call_long(lib.mgen_curate, byref(params), byref(handle))
    except BaseException:
        lib.mgen_report_destroy(handle)
        raise
    finally:
        here.on_progress = before
    return report_taken(handle.value)


def toybox_prompts() -> List[str]:
    """The prompts that the protocol "alignment" asks first, in order."""
    prompts: List[str] = []
    while True:
        prompt = lib.mgen_toybox_prompt(len(prompts))
        if prompt is None:
            return prompts
        prompts.append(prompt.decode())


def version() -> str:
    """major.minor.patch of the library that runs."""
    return lib.mgen_version().decode()  # type: ignore[no-any-return]
