/* SPDX-License-Identifier: MIT
 * The part of cuDNN's backend interface that is used, declared here so that no header of it is needed: values are those
 * that cuDNN 9 promises to keep. A test compares them with cudnn.h where there is one. */
#ifndef MGK_CUDNN_API_H
#define MGK_CUDNN_API_H

#include <stddef.h>
#include <stdint.h>

/* Attention as a single operation came with 9.13.1. */
enum { MGK_CUDNN_OLDEST = 91301, MGK_CUDNN_BEYOND = 100000 };

/* Kinds of descriptors. */
enum {
    MGK_CUDNN_ENGINE = 2,
    MGK_CUDNN_ENGINE_CONFIG = 3,
    MGK_CUDNN_HEURISTICS = 4,
    MGK_CUDNN_PLAN = 5,
    MGK_CUDNN_GRAPH = 15,
    MGK_CUDNN_PACK = 16,
    MGK_CUDNN_TENSOR = 17,
    MGK_CUDNN_DEVICE = 38,
    MGK_CUDNN_ATTENTION = 41
};

/* Attributes. */
enum {
    MGK_CUDNN_HEURISTICS_MODE = 200,
    MGK_CUDNN_HEURISTICS_GRAPH = 201,
    MGK_CUDNN_HEURISTICS_RESULTS = 202,
    MGK_CUDNN_HEURISTICS_DEVICE = 204,
    MGK_CUDNN_CONFIG_ENGINE = 300,
    MGK_CUDNN_PLAN_HANDLE = 400,
    MGK_CUDNN_PLAN_CONFIG = 401,
    MGK_CUDNN_PLAN_WORKSPACE = 402,
    MGK_CUDNN_PLAN_DEVICE = 407,
    MGK_CUDNN_GRAPH_HANDLE = 800,
    MGK_CUDNN_GRAPH_OPS = 801,
    MGK_CUDNN_TENSOR_ALIGNMENT = 900,
    MGK_CUDNN_TENSOR_DTYPE = 901,
    MGK_CUDNN_TENSOR_DIMS = 902,
    MGK_CUDNN_TENSOR_STRIDES = 903,
    MGK_CUDNN_TENSOR_ID = 906,
    MGK_CUDNN_TENSOR_BY_VALUE = 908,
    MGK_CUDNN_PACK_IDS = 1000,
    MGK_CUDNN_PACK_POINTERS = 1001,
    MGK_CUDNN_PACK_WORKSPACE = 1003,
    MGK_CUDNN_ENGINE_NOTES = 1303,
    MGK_CUDNN_DEVICE_JSON = 2702,
    MGK_CUDNN_ATTENTION_Q = 2800,
    MGK_CUDNN_ATTENTION_K = 2801,
    MGK_CUDNN_ATTENTION_V = 2802,
    MGK_CUDNN_ATTENTION_O = 2803,
    MGK_CUDNN_ATTENTION_STATS = 2804,
    MGK_CUDNN_ATTENTION_SCALE = 2805
};

/* Types of attributes. */
enum {
    MGK_CUDNN_TYPE_HANDLE = 0,
    MGK_CUDNN_TYPE_DTYPE = 1,
    MGK_CUDNN_TYPE_BOOL = 2,
    MGK_CUDNN_TYPE_INT64 = 3,
    MGK_CUDNN_TYPE_POINTER = 6,
    MGK_CUDNN_TYPE_MODE = 8,
    MGK_CUDNN_TYPE_NOTE = 11,
    MGK_CUDNN_TYPE_DESCRIPTOR = 15,
    MGK_CUDNN_TYPE_CHAR = 24
};

enum { MGK_CUDNN_F32 = 0, MGK_CUDNN_BF16 = 9 };
enum { MGK_CUDNN_MODE_A = 3 };           /* of heuristics */
enum { MGK_CUDNN_NONDETERMINISTIC = 4 }; /* a note */

typedef void *mgk_cudnn_descriptor;

/* All but version answer 0 for success. */
typedef struct mgk_cudnn_api {
    size_t (*version)(void);
    const char *(*error)(int status);
    int (*create)(void **handle);
    int (*destroy)(void *handle);
    int (*set_stream)(void *handle, void *stream);
    int (*make)(int kind, mgk_cudnn_descriptor *out);
    int (*drop)(mgk_cudnn_descriptor d);
    int (*set)(mgk_cudnn_descriptor d, int attribute, int type, int64_t count, const void *values);
    int (*get)(mgk_cudnn_descriptor d, int attribute, int type, int64_t room, int64_t *count,
               void *values);
    int (*finalize)(mgk_cudnn_descriptor d);
    int (*execute)(void *handle, mgk_cudnn_descriptor plan, mgk_cudnn_descriptor pack);
} mgk_cudnn_api;

#endif
