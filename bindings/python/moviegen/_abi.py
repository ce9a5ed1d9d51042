# SPDX-License-Identifier: MIT
"""moviegen.h again, for ctypes: constants, structs, callbacks, calls. check() holds it to the library's own table."""
import ctypes
import itertools
import operator
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_double, c_float, c_int32, c_int64, c_uint32, c_uint64, c_void_p
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import _library
from .errors import STATUS, InvalidError

CONSTANTS: Dict[str, int] = {
    **STATUS,
    "MGEN_VERSION_MAJOR": 0, "MGEN_VERSION_MINOR": 1, "MGEN_VERSION_PATCH": 0,
    "MGEN_CLASS_OK": 0, "MGEN_CLASS_UNCHANGED": 1, "MGEN_CLASS_FAILED": 2, "MGEN_CLASS_DEAD": 3,
    "MGEN_LOG_ERROR": 0, "MGEN_LOG_WARN": 1, "MGEN_LOG_INFO": 2, "MGEN_LOG_DEBUG": 3,
    "MGEN_FORMAT_RGB8": 0, "MGEN_FORMAT_RGBF32": 1, "MGEN_FORMAT_YUV420": 2,
    "MGEN_SCHEDULE_LINEAR_QUADRATIC": 0, "MGEN_SCHEDULE_LINEAR": 1,
    "MGEN_SCHEDULE_LINEAR_QUADRATIC_1000": 2,
    "MGEN_SOLVER_EULER": 0, "MGEN_SOLVER_MIDPOINT": 1, "MGEN_SOLVER_DOPRI5": 2,
    "MGEN_PRECISION_DEFAULT": 0, "MGEN_PRECISION_F32": 1, "MGEN_PRECISION_BF16": 2, "MGEN_PRECISION_FP8": 3,
    "MGEN_EDIT_AUTO": 0, "MGEN_EDIT_LOCAL": 1, "MGEN_EDIT_STYLE": 2, "MGEN_EDIT_BACKGROUND": 3, "MGEN_EDIT_REMOVAL": 4,
    "MGEN_EDIT_ADDITION": 5, "MGEN_EDIT_TEXTURE": 6, "MGEN_EDIT_SEGMENTATION": 7,
    "MGEN_SOUND_BLENDED": 0, "MGEN_SOUND_ONE_BY_ONE": 1,
}
# These say which header a library was built from, not what its calls mean.
VERSIONS = ("MGEN_VERSION_MAJOR", "MGEN_VERSION_MINOR", "MGEN_VERSION_PATCH")
OK = STATUS["MGEN_OK"]
CANCELLED = STATUS["MGEN_E_CANCELLED"]
TIMEOUT = STATUS["MGEN_E_TIMEOUT"]
AGAIN = STATUS["MGEN_E_AGAIN"]
INTERNAL = STATUS["MGEN_E_INTERNAL"]
ENDLESS = 2**64 - 1

_RANGES = {c_uint32: 2**32 - 1, c_uint64: 2**64 - 1}


class Struct(ctypes.Structure):
    """A struct of moviegen.h, begun as its INIT macro does. ctypes cuts numbers that do not fit; here they are
    refused."""

    NAME = ""

    def __init__(self, **values: Any) -> None:
        kinds: Dict[str, Any] = {field[0]: field[1] for field in self._fields_}
        for name, value in values.items():
            limit = _RANGES.get(kinds[name])
            if limit is not None:
                values[name] = checked(value, limit, name)
            elif kinds[name] in (c_float, c_double):
                values[name] = real(value, name)
        super().__init__(**values)
        if "struct_size" in kinds:
            self.struct_size = ctypes.sizeof(self)


def checked(value: Any, limit: int, name: str) -> int:
    """An integer of 0..limit."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: an int is wanted, not {type(value).__name__}") from None
    if not 0 <= number <= limit:
        raise InvalidError(f"{name} is {number}; it must be 0..{limit}")
    return number


def real(value: Any, name: str) -> float:
    """A number with or without a fraction, NumPy's too."""
    try:
        return c_double(value).value
    except TypeError:
        raise TypeError(f"{name}: a number is wanted, not {type(value).__name__}") from None
    except OverflowError:
        raise InvalidError(f"{name} is larger than any float") from None


ALLOC = CFUNCTYPE(c_void_p, c_void_p, ctypes.c_size_t)
FREE = CFUNCTYPE(None, c_void_p, c_void_p, ctypes.c_size_t)
LOG = CFUNCTYPE(None, c_void_p, c_int32, c_char_p)
PROGRESS = CFUNCTYPE(c_int32, c_void_p, c_char_p, c_uint64, c_uint64)
DONE_TOTAL = CFUNCTYPE(c_int32, c_void_p, c_uint32, c_uint32)
RELEASED = CFUNCTYPE(None, c_void_p)
EXCHANGE = CFUNCTYPE(c_int32, c_void_p, c_void_p, c_void_p, c_uint64)
ON_STEP = CFUNCTYPE(c_int32, c_void_p, c_uint64, c_void_p)


def callback(kind: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make a C function of a Python one."""
    return kind  # type: ignore[no-any-return]


class Allocator(Struct):
    NAME = "mgen_allocator"
    _fields_ = [("alloc", ALLOC), ("free", FREE), ("user", c_void_p)]


class ContextParams(Struct):
    NAME = "mgen_context_params"
    _fields_ = [("struct_size", c_uint32), ("threads", c_uint32), ("host_memory_max", c_uint64),
                ("device_memory_max", c_uint64), ("allocator", Allocator), ("log", LOG), ("log_user", c_void_p),
                ("progress", PROGRESS), ("progress_user", c_void_p), ("device", c_char_p), ("cache_dir", c_char_p),
                ("plugin_dir", c_char_p), ("kernels", c_char_p), ("error_text", c_char_p), ("error_size", c_uint64),
                ("autotune", c_uint32), ("reserved0", c_uint32)]


class MeshParams(Struct):
    NAME = "mgen_mesh_params"
    _fields_ = [("struct_size", c_uint32), ("rank", c_uint32), ("ranks", c_void_p), ("axes", c_char_p),
                ("timeout_ms", c_int64), ("by_host", c_uint32), ("reserved0", c_uint32), ("meet", c_char_p),
                ("run", c_char_p), ("exchange", EXCHANGE), ("user", c_void_p), ("size", c_uint32),
                ("reserved1", c_uint32)]


class Frames(Struct):
    NAME = "mgen_frames"
    _fields_ = [("struct_size", c_uint32), ("format", c_uint32), ("width", c_uint32), ("height", c_uint32),
                ("count", c_uint32), ("reserved0", c_uint32), ("plane", c_void_p * 3), ("row_stride", c_uint64 * 3),
                ("frame_stride", c_uint64 * 3)]


class ClipInfo(Struct):
    NAME = "mgen_clip_info"
    _fields_ = [("struct_size", c_uint32), ("width", c_uint32), ("height", c_uint32), ("frames", c_uint32),
                ("fps_num", c_uint32), ("fps_den", c_uint32)]


class SoundInfo(Struct):
    NAME = "mgen_sound_info"
    _fields_ = [("struct_size", c_uint32), ("rate", c_uint32), ("channels", c_uint32), ("reserved0", c_uint32),
                ("samples", c_uint64)]


class ModelInfo(Struct):
    NAME = "mgen_model_info"
    _fields_ = [("struct_size", c_uint32), ("channels", c_uint32), ("spatial_factor", c_uint32),
                ("temporal_factor", c_uint32), ("text_width", c_uint32), ("text_tokens", c_uint32),
                ("parameters", c_uint64), ("bytes", c_uint64), ("hash", c_uint64), ("guidance", c_float),
                ("fps_prefix", c_uint32), ("upsampling", c_uint32), ("noise_scale", c_float),
                ("tasks", c_uint32), ("source_guidance", c_float), ("rate", c_uint32), ("sees_clips", c_uint32)]


class Pipeline(Struct):
    NAME = "mgen_pipeline"
    _fields_ = [("struct_size", c_uint32), ("width", c_uint32), ("height", c_uint32), ("frames", c_uint32),
                ("fps", c_uint32), ("precision", c_uint32), ("tae", c_void_p), ("text", c_void_p * 3),
                ("video", c_void_p), ("mesh", c_void_p), ("upsampler", c_void_p), ("editor", c_void_p),
                ("audio", c_void_p), ("personalizer", c_void_p), ("rewriter", c_void_p)]


class Latents(Struct):
    NAME = "mgen_latents"
    _fields_ = [("struct_size", c_uint32), ("frames", c_uint32), ("height", c_uint32), ("width", c_uint32),
                ("channels", c_uint32), ("reserved0", c_uint32), ("data", c_void_p)]


ON_PREVIEW = CFUNCTYPE(c_int32, c_void_p, c_uint32, POINTER(Latents))
ON_FRAMES = CFUNCTYPE(c_int32, c_void_p, c_uint64, POINTER(Frames))


class GenerateParams(Struct):
    NAME = "mgen_generate_params"
    _fields_ = [("struct_size", c_uint32), ("steps", c_uint32), ("prompt", c_char_p), ("negative_prompt", c_char_p),
                ("seed", c_uint64), ("width", c_uint32), ("height", c_uint32), ("frames", c_uint32),
                ("guidance", c_float), ("schedule", c_uint32), ("frames_format", c_uint32),
                ("on_progress", DONE_TOTAL), ("on_preview", ON_PREVIEW), ("on_frames", ON_FRAMES), ("user", c_void_p),
                ("into", POINTER(Frames)), ("solver", c_uint32), ("guidance_from", c_float),
                ("guidance_to", c_float), ("drop_text", c_uint32), ("edit_task", c_uint32), ("source_guidance", c_float),
                ("strength", c_float), ("noise_scale", c_float)]


class SoundParams(Struct):
    NAME = "mgen_sound_params"
    _fields_ = [("struct_size", c_uint32), ("steps", c_uint32), ("prompt", c_char_p), ("music", c_char_p),
                ("negative", c_char_p), ("seed", c_uint64), ("seconds", c_double), ("guidance", c_float),
                ("quality", c_float), ("solver", c_uint32), ("extension", c_uint32), ("candidates", c_uint32),
                ("noise_scale", c_float), ("context", c_void_p), ("on_progress", DONE_TOTAL), ("user", c_void_p)]


class Estimate(Struct):
    NAME = "mgen_estimate"
    _fields_ = [("struct_size", c_uint32), ("width", c_uint32), ("height", c_uint32), ("frames", c_uint32),
                ("host_bytes", c_uint64), ("device_bytes", c_uint64), ("flops", c_double)]


class JobInfo(Struct):
    NAME = "mgen_job_info"
    _fields_ = [("struct_size", c_uint32), ("done", c_uint32), ("total", c_uint32), ("width", c_uint32),
                ("height", c_uint32), ("frames", c_uint32), ("frames_done", c_uint32), ("reserved0", c_uint32),
                ("host_bytes", c_uint64)]


class Text(Struct):
    NAME = "mgen_text"
    _fields_ = [("struct_size", c_uint32), ("tokens", c_uint32), ("width", c_uint32), ("reserved0", c_uint32),
                ("data", c_void_p)]


class Sample(Struct):
    NAME = "mgen_sample"
    _fields_ = [("struct_size", c_uint32), ("width", c_uint32), ("height", c_uint32), ("frames", c_uint32),
                ("pixels", c_void_p), ("caption", c_void_p), ("caption_size", c_uint64), ("sound", c_void_p),
                ("sound_samples", c_uint64), ("sound_caption", c_void_p), ("edited", c_void_p),
                ("instruction", c_void_p), ("edit_task", c_uint32), ("reserved0", c_uint32)]


READ_SAMPLE = CFUNCTYPE(c_int32, c_void_p, c_uint64, POINTER(Sample))


class DatasetParams(Struct):
    NAME = "mgen_dataset_params"
    _fields_ = [("struct_size", c_uint32), ("width", c_uint32), ("height", c_uint32), ("frames", c_uint32),
                ("count", c_uint64), ("read", READ_SAMPLE), ("released", RELEASED), ("user", c_void_p),
                ("fps", c_uint32), ("edits", c_uint32), ("sound_samples", c_uint64)]


class TrainerParams(Struct):
    NAME = "mgen_trainer_params"
    _fields_ = [("struct_size", c_uint32), ("reserved0", c_uint32), ("recipe", c_char_p), ("stage", c_char_p),
                ("dir", c_char_p), ("seed", c_uint64), ("dataset", c_void_p), ("resume", c_char_p),
                ("on_step", ON_STEP), ("user", c_void_p), ("mesh", c_void_p)]


class PlanParams(Struct):
    NAME = "mgen_plan_params"
    _fields_ = [("struct_size", c_uint32), ("batch", c_uint32), ("preset", c_char_p), ("recompute", c_char_p),
                ("precision", c_char_p), ("width", c_uint32), ("height", c_uint32), ("frames", c_uint32),
                ("text_tokens", c_uint32), ("gpus", c_uint32), ("global_batch", c_uint32), ("gpu", c_char_p),
                ("mesh", c_char_p), ("text", c_uint32), ("timeline", c_uint32)]


class CurateParams(Struct):
    NAME = "mgen_curate_params"
    _fields_ = [("struct_size", c_uint32), ("reserved0", c_uint32), ("dir", c_char_p), ("rules", c_char_p),
                ("out", c_char_p), ("on_progress", DONE_TOTAL), ("user", c_void_p)]


class EvalParams(Struct):
    NAME = "mgen_eval_params"
    _fields_ = [("struct_size", c_uint32), ("n", c_uint32), ("protocol", c_char_p), ("seed", c_uint64),
                ("steps", c_uint32), ("guidance", c_float), ("on_progress", DONE_TOTAL), ("user", c_void_p),
                ("schedule", c_uint32), ("solver", c_uint32), ("guidance_from", c_float), ("guidance_to", c_float),
                ("drop_text", c_uint32), ("noise_scale", c_float), ("dataset", c_void_p)]


STRUCTS = (Allocator, ContextParams, MeshParams, Frames, ClipInfo, SoundInfo, ModelInfo, Pipeline, Latents, GenerateParams,
           SoundParams, Estimate, JobInfo, Text, Sample, DatasetParams, TrainerParams, PlanParams, CurateParams, EvalParams)

_STATUS = c_int32
_OUT = POINTER(c_void_p)
_OPEN = (_STATUS, c_void_p, c_char_p, c_char_p, _OUT)
_INFO = (_STATUS, c_void_p, POINTER(ModelInfo))
_SAME = (c_void_p, c_void_p)
_END = (None, c_void_p)

# name: result, arguments...
CALLS: Dict[str, Tuple[Any, ...]] = {
    "mgen_status_name": (c_char_p, c_int32), "mgen_status_class": (c_int32, c_int32), "mgen_version": (c_char_p,),
    "mgen_abi_name": (c_char_p, c_uint32), "mgen_abi_value": (c_int64, c_uint32),
    "mgen_context_create": (_STATUS, POINTER(ContextParams), _OUT), "mgen_context_destroy": _END,
    "mgen_last_error": (c_char_p, c_void_p), "mgen_last_status": (_STATUS, c_void_p),
    "mgen_context_memory": (None, c_void_p, POINTER(c_uint64), POINTER(c_uint64)), "mgen_context_trim": _END,
    "mgen_context_kernels": (c_char_p, c_void_p),
    "mgen_ranks_create": (_STATUS, c_void_p, c_uint32, c_int64, _OUT), "mgen_ranks_destroy": _END,
    "mgen_mesh_create": (_STATUS, c_void_p, POINTER(MeshParams), _OUT), "mgen_mesh_destroy": _END,
    "mgen_mesh_rank": (c_uint32, c_void_p), "mgen_mesh_size": (c_uint32, c_void_p),
    "mgen_mesh_barrier": (_STATUS, c_void_p), "mgen_mesh_abort": _END,
    "mgen_clip_create": (_STATUS, c_void_p, POINTER(ClipInfo), _OUT),
    "mgen_clip_read": (_STATUS, c_void_p, c_char_p, c_uint64, c_uint64, _OUT), "mgen_clip_destroy": _END,
    "mgen_clip_get_info": (_STATUS, c_void_p, POINTER(ClipInfo)), "mgen_clip_pixels": (c_void_p, c_void_p),
    "mgen_clip_write": (_STATUS, c_void_p, c_void_p, c_char_p),
    "mgen_sound_create": (_STATUS, c_void_p, POINTER(SoundInfo), _OUT),
    "mgen_sound_read": (_STATUS, c_void_p, c_char_p, c_uint32, c_uint32, _OUT), "mgen_sound_destroy": _END,
    "mgen_sound_get_info": (_STATUS, c_void_p, POINTER(SoundInfo)), "mgen_sound_samples": (c_void_p, c_void_p),
    "mgen_sound_write": (_STATUS, c_void_p, c_void_p, c_char_p),
    "mgen_movie_write": (_STATUS, c_void_p, c_void_p, c_void_p, c_char_p),
    "mgen_tae_open": _OPEN, "mgen_text_encoder_open": _OPEN, "mgen_video_model_open": _OPEN,
    "mgen_upsampler_open": _OPEN, "mgen_upsampler_retain": _SAME, "mgen_upsampler_release": _END,
    "mgen_upsampler_get_info": _INFO,
    "mgen_editor_open": _OPEN, "mgen_editor_retain": _SAME, "mgen_editor_release": _END, "mgen_editor_get_info": _INFO,
    "mgen_audio_model_open": _OPEN, "mgen_audio_model_retain": _SAME, "mgen_audio_model_release": _END,
    "mgen_audio_model_get_info": _INFO,
    "mgen_personalizer_open": _OPEN, "mgen_personalizer_retain": _SAME, "mgen_personalizer_release": _END,
    "mgen_personalizer_get_info": _INFO,
    "mgen_rewriter_open": _OPEN, "mgen_rewriter_retain": _SAME, "mgen_rewriter_release": _END, "mgen_rewriter_get_info": _INFO,
    "mgen_tae_retain": _SAME, "mgen_text_encoder_retain": _SAME, "mgen_video_model_retain": _SAME,
    "mgen_tae_release": _END, "mgen_text_encoder_release": _END, "mgen_video_model_release": _END,
    "mgen_tae_get_info": _INFO, "mgen_text_encoder_get_info": _INFO, "mgen_video_model_get_info": _INFO,
    "mgen_pipeline_open": (_STATUS, c_void_p, c_char_p, POINTER(Pipeline)),
    "mgen_pipeline_close": (None, POINTER(Pipeline)), "mgen_pipeline_hash": (c_uint64, POINTER(Pipeline)),
    "mgen_pipeline_average": (_STATUS, c_void_p, _OUT, c_void_p, c_uint32, c_char_p),
    "mgen_pipeline_convert": (_STATUS, c_void_p, c_char_p, c_uint32),
    "mgen_rewrite": (_STATUS, c_void_p, POINTER(Pipeline), c_char_p, c_void_p, c_uint64),
    "mgen_generate_estimate": (_STATUS, c_void_p, POINTER(Pipeline), POINTER(GenerateParams), POINTER(Estimate)),
    "mgen_generate_start": (_STATUS, c_void_p, POINTER(Pipeline), POINTER(GenerateParams), _OUT),
    "mgen_upsample_estimate": (_STATUS, c_void_p, POINTER(Pipeline), c_void_p, POINTER(GenerateParams), POINTER(Estimate)),
    "mgen_upsample_start": (_STATUS, c_void_p, POINTER(Pipeline), c_void_p, POINTER(GenerateParams), _OUT),
    "mgen_edit_estimate": (_STATUS, c_void_p, POINTER(Pipeline), c_void_p, POINTER(GenerateParams), POINTER(Estimate)),
    "mgen_edit_start": (_STATUS, c_void_p, POINTER(Pipeline), c_void_p, POINTER(GenerateParams), _OUT),
    "mgen_personalize_estimate": (_STATUS, c_void_p, POINTER(Pipeline), c_void_p, POINTER(GenerateParams), POINTER(Estimate)),
    "mgen_personalize_start": (_STATUS, c_void_p, POINTER(Pipeline), c_void_p, POINTER(GenerateParams), _OUT),
    "mgen_sound_estimate": (_STATUS, c_void_p, POINTER(Pipeline), c_void_p, POINTER(SoundParams), POINTER(Estimate)),
    "mgen_sound_start": (_STATUS, c_void_p, POINTER(Pipeline), c_void_p, POINTER(SoundParams), _OUT),
    "mgen_job_take_sound": (_STATUS, c_void_p, _OUT),
    "mgen_job_wait": (_STATUS, c_void_p, c_int64), "mgen_job_poll": (_STATUS, c_void_p), "mgen_job_cancel": _END,
    "mgen_job_get_info": (_STATUS, c_void_p, POINTER(JobInfo)), "mgen_job_take_clip": (_STATUS, c_void_p, _OUT),
    "mgen_job_destroy": _END,
    "mgen_text_encode": (_STATUS, c_void_p, c_void_p, c_char_p, POINTER(Text)),
    "mgen_tae_encode": (_STATUS, c_void_p, c_void_p, POINTER(Frames), POINTER(Latents)),
    "mgen_tae_decode": (_STATUS, c_void_p, c_void_p, POINTER(Latents), POINTER(Frames)),
    "mgen_video_velocity": (_STATUS, c_void_p, c_void_p, POINTER(Latents), c_float, POINTER(POINTER(Text)),
                            POINTER(Latents)),
    "mgen_schedule": (_STATUS, c_uint32, c_uint32, c_void_p),
    "mgen_noise": (_STATUS, c_void_p, c_uint64, POINTER(Latents)),
    "mgen_report_count": (c_uint32, c_void_p), "mgen_report_name": (c_char_p, c_void_p, c_uint32),
    "mgen_report_text": (c_char_p, c_void_p), "mgen_report_value": (c_double, c_void_p, c_uint32),
    "mgen_report_destroy": _END,
    "mgen_dataset_toybox": (_STATUS, c_void_p, c_uint64, _OUT),
    "mgen_dataset_create": (_STATUS, c_void_p, POINTER(DatasetParams), _OUT),
    "mgen_dataset_open": (_STATUS, c_void_p, c_char_p, POINTER(DatasetParams), _OUT),
    "mgen_dataset_retain": _SAME, "mgen_dataset_release": _END, "mgen_dataset_count": (c_uint64, c_void_p),
    "mgen_dataset_read": (_STATUS, c_void_p, c_void_p, c_uint64, c_void_p, c_uint64, _OUT),
    "mgen_curate": (_STATUS, c_void_p, POINTER(CurateParams), _OUT),
    "mgen_trainer_create": (_STATUS, c_void_p, POINTER(TrainerParams), _OUT),
    "mgen_trainer_steps": (c_uint64, c_void_p), "mgen_trainer_position": (c_uint64, c_void_p),
    "mgen_trainer_step": (_STATUS, c_void_p, _OUT), "mgen_trainer_run": (_STATUS, c_void_p, c_uint64),
    "mgen_trainer_stop": _END, "mgen_trainer_checkpoint": (_STATUS, c_void_p, c_char_p),
    "mgen_trainer_save": (_STATUS, c_void_p), "mgen_trainer_destroy": _END,
    "mgen_plan_training": (_STATUS, c_void_p, POINTER(PlanParams), _OUT),
    "mgen_evaluate": (_STATUS, c_void_p, POINTER(Pipeline), POINTER(EvalParams), _OUT),
    "mgen_toybox_prompt": (c_char_p, c_uint32),
}


def declared() -> Dict[str, int]:
    """Our side of the library's table."""
    ours = {name: value for name, value in CONSTANTS.items() if name not in VERSIONS}
    for struct in STRUCTS:
        ours[f"sizeof {struct.NAME}"] = ctypes.sizeof(struct)
        for field in struct._fields_:
            ours[f"offsetof {struct.NAME}.{field[0]}"] = getattr(struct, field[0]).offset
    return ours


def table(name_of: Callable[[int], Optional[bytes]], value_of: Callable[[int], int]) -> Dict[str, int]:
    """The library's table, from its two calls."""
    theirs: Dict[str, int] = {}
    for i in itertools.count():
        name = name_of(i)
        if name is None:
            break
        theirs[name.decode()] = value_of(i)
    return theirs


def mismatches(theirs: Dict[str, int]) -> List[str]:
    """What makes this binding unfit for a library. A struct that has grown at its end is fit: the library
    reads a shorter one as if filled up with 0."""
    found = []
    for name, value in declared().items():
        grows = name.startswith("sizeof ") and name != "sizeof mgen_allocator"
        if name not in theirs:
            found.append(f"{name} is unknown to the library")
        elif theirs[name] != value and not (grows and theirs[name] > value):
            found.append(f"{name} is {value} here and {theirs[name]} in the library")
    return found


def check(theirs: Dict[str, int], version: str, file: str = "") -> None:
    """ImportError unless the layouts agree."""
    found = mismatches(theirs)
    if found:
        raise ImportError(f"this binding does not fit the library{file and ' ' + file}, version {version}: {'; '.join(found[:5])}"
                          f"{' ...' if len(found) > 5 else ''}. Install the binding of the same version")


def open_library() -> ctypes.CDLL:
    """Load the library and hold the declarations above to it."""
    library = _library.load()
    for name, (result, *arguments) in CALLS.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise ImportError(f"{library._name} is older than this binding: it lacks {name}") from None
        function.restype, function.argtypes = result, arguments
    check(table(library.mgen_abi_name, library.mgen_abi_value), library.mgen_version().decode(), _library.file_of(library))
    return library


lib = open_library()
