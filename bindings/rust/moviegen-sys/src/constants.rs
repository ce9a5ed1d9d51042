// SPDX-License-Identifier: MIT
//! Numbers of the header. Each has the type of the field or result that it is meant for.

use crate::mgen_status;

pub const MGEN_VERSION_MAJOR: u32 = 0;
pub const MGEN_VERSION_MINOR: u32 = 1;
pub const MGEN_VERSION_PATCH: u32 = 0;

pub const MGEN_OK: mgen_status = 0;
pub const MGEN_E_INVALID: mgen_status = -10;
pub const MGEN_E_STATE: mgen_status = -11;
pub const MGEN_E_UNSUPPORTED: mgen_status = -12;
pub const MGEN_E_VERSION: mgen_status = -13;
pub const MGEN_E_NO_MEMORY: mgen_status = -20;
pub const MGEN_E_LIMIT: mgen_status = -21;
pub const MGEN_E_NOT_FOUND: mgen_status = -30;
pub const MGEN_E_IO: mgen_status = -31;
pub const MGEN_E_CORRUPT: mgen_status = -32;
pub const MGEN_E_NO_SPACE: mgen_status = -33;
pub const MGEN_E_DEVICE: mgen_status = -40;
pub const MGEN_E_DEVICE_LOST: mgen_status = -41;
pub const MGEN_E_NUMERIC: mgen_status = -42;
pub const MGEN_E_PEER_LOST: mgen_status = -50;
pub const MGEN_E_TIMEOUT: mgen_status = -51;
pub const MGEN_E_DESYNC: mgen_status = -52;
pub const MGEN_E_CANCELLED: mgen_status = -60;
pub const MGEN_E_AGAIN: mgen_status = -61;
pub const MGEN_E_INTERNAL: mgen_status = -90;

pub const MGEN_CLASS_OK: i32 = 0;
pub const MGEN_CLASS_UNCHANGED: i32 = 1;
pub const MGEN_CLASS_FAILED: i32 = 2;
pub const MGEN_CLASS_DEAD: i32 = 3;

pub const MGEN_LOG_ERROR: i32 = 0;
pub const MGEN_LOG_WARN: i32 = 1;
pub const MGEN_LOG_INFO: i32 = 2;
pub const MGEN_LOG_DEBUG: i32 = 3;

pub const MGEN_FORMAT_RGB8: u32 = 0;
pub const MGEN_FORMAT_RGBF32: u32 = 1;
pub const MGEN_FORMAT_YUV420: u32 = 2;

pub const MGEN_SCHEDULE_LINEAR_QUADRATIC: u32 = 0;
pub const MGEN_SCHEDULE_LINEAR: u32 = 1;
pub const MGEN_SCHEDULE_LINEAR_QUADRATIC_1000: u32 = 2;

pub const MGEN_SOLVER_EULER: u32 = 0;
pub const MGEN_SOLVER_MIDPOINT: u32 = 1;
pub const MGEN_SOLVER_DOPRI5: u32 = 2;

pub const MGEN_PRECISION_DEFAULT: u32 = 0;
pub const MGEN_PRECISION_F32: u32 = 1;
pub const MGEN_PRECISION_BF16: u32 = 2;
pub const MGEN_PRECISION_FP8: u32 = 3;

pub const MGEN_EDIT_AUTO: u32 = 0;
pub const MGEN_EDIT_LOCAL: u32 = 1;
pub const MGEN_EDIT_STYLE: u32 = 2;
pub const MGEN_EDIT_BACKGROUND: u32 = 3;
pub const MGEN_EDIT_REMOVAL: u32 = 4;
pub const MGEN_EDIT_ADDITION: u32 = 5;
pub const MGEN_EDIT_TEXTURE: u32 = 6;
pub const MGEN_EDIT_SEGMENTATION: u32 = 7;
pub const MGEN_SOUND_BLENDED: u32 = 0;
pub const MGEN_SOUND_ONE_BY_ONE: u32 = 1;
