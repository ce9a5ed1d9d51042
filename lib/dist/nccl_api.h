/* SPDX-License-Identifier: MIT
 * The part of NCCL that is used, declared here so that no header of it is needed: values and layouts are
 * those that NCCL promises to keep. A test compares them with nccl.h where there is one. Tier 3. */
#ifndef MGI_DIST_NCCL_API_H
#define MGI_DIST_NCCL_API_H

#include <limits.h>
#include <stddef.h>

enum { MGI_NCCL_OK = 0, MGI_NCCL_SYSTEM = 2, MGI_NCCL_REMOTE = 6, MGI_NCCL_IN_PROGRESS = 7 };
enum { MGI_NCCL_SUM = 0 };
enum { MGI_NCCL_U8 = 1, MGI_NCCL_I32 = 2, MGI_NCCL_U64 = 5, MGI_NCCL_F32 = 7, MGI_NCCL_BF16 = 9 };

/* Non-blocking communicators came with 2.14, splits of them with 2.18. */
enum { MGI_NCCL_OLDEST = 21800 };

typedef struct mgi_nccl_comm mgi_nccl_comm;
typedef struct mgi_nccl_id {
    char bytes[128];
} mgi_nccl_id;

/* As of 2.17; later ones have more, which NCCL fills in by the size and version given. */
typedef struct mgi_nccl_config {
    size_t size;
    unsigned magic, version;
    int blocking, cga_cluster_size, min_ctas, max_ctas;
    const char *net_name;
    int split_share;
} mgi_nccl_config;

#define MGI_NCCL_CONFIG                                                                            \
    {                                                                                              \
        sizeof(mgi_nccl_config), 0xcafebeef, 21700, 0, INT_MIN, INT_MIN, INT_MIN, NULL, INT_MIN    \
    }

typedef struct mgi_nccl_api {
    int (*get_version)(int *version);
    int (*get_id)(mgi_nccl_id *id);
    int (*init)(mgi_nccl_comm **comm, int size, mgi_nccl_id id, int rank, mgi_nccl_config *config);
    int (*async_error)(mgi_nccl_comm *comm, int *error);
    int (*finalize)(mgi_nccl_comm *comm);
    int (*destroy)(mgi_nccl_comm *comm);
    int (*stop)(mgi_nccl_comm *comm);
    const char *(*error_string)(int error);
    const char *(*last_error)(mgi_nccl_comm *comm);
    int (*all_reduce)(const void *send, void *recv, size_t count, int dtype, int op,
                      mgi_nccl_comm *comm, void *stream);
    int (*reduce_scatter)(const void *send, void *recv, size_t count, int dtype, int op,
                          mgi_nccl_comm *comm, void *stream);
    int (*all_gather)(const void *send, void *recv, size_t count, int dtype, mgi_nccl_comm *comm,
                      void *stream);
    int (*broadcast)(const void *send, void *recv, size_t count, int dtype, int root,
                     mgi_nccl_comm *comm, void *stream);
    int (*send)(const void *data, size_t count, int dtype, int peer, mgi_nccl_comm *comm,
                void *stream);
    int (*recv)(void *data, size_t count, int dtype, int peer, mgi_nccl_comm *comm, void *stream);
    int (*group_start)(void);
    int (*group_end)(void);
} mgi_nccl_api;

#endif
