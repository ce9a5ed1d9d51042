/* SPDX-License-Identifier: MIT
 * What GPUs, and the links between them, are assumed to do. Tier 7. */
#ifndef MGI_TRAIN_PLAN_GPU_H
#define MGI_TRAIN_PLAN_GPU_H

#include "dist/comm.h"

typedef enum mgi_link { MGI_LINK_NVLINK, MGI_LINK_NETWORK, MGI_LINKS } mgi_link;

/* Rates of the maker's data sheets, and the shares of them that programs reach; seconds and bytes. */
typedef struct mgi_gpu {
    char name[32];
    double tflops, tflops_f32; /* 1e12 operations a second: dense bf16; f32, not TF32 */
    double gb, gbs;            /* memory, 1e9 bytes; 1e9 bytes a second to it */
    double link[MGI_LINKS];    /* 1e9 bytes a second of each GPU, in one direction */
    double node;               /* GPUs that NVLink joins */
    double products, convolutions, attention,
        attention_grad;                  /* shares of tflops; see kernels/flops.h */
    double memory, links;                /* shares of gbs; of link */
    double launch_us, hop_us[MGI_LINKS]; /* each launch; each hop of a ring */
    double reserve_gb;                   /* of memory: driver, NCCL, libraries */
} mgi_gpu;

/* "h100-80gb", or with other numbers: "h100-80gb,attention=0.5,gb=64". INVALID, with what there is. */
mgen_status mgi_gpu_parse(mgen_context *ctx, const char *text, mgi_gpu *out);
/* Its numbers in order, with the names that they have there; NULL behind the last one. */
const char *mgi_gpu_number(const mgi_gpu *gpu, int index, double *value);

/* Seconds of a product of so many operations, of elements of the dtype, at `share` of the peak; of memory traffic. */
double mgi_gpu_product(const mgi_gpu *gpu, int32_t dtype, double flops, double share);
double mgi_gpu_traffic(const mgi_gpu *gpu, double bytes);

/* A collective of `size` ranks, of which `near` are in each node: over which link it goes (the network, unless all
 * are in one node), how long it takes where each rank sends `sent` bytes, and how many of them over each link. A ring
 * through the ranks in order: of the ranks that are in one node, one sends to another node. */
mgi_link mgi_gpu_link(int size, int near);
double mgi_gpu_collective(const mgi_gpu *gpu, mgi_comm_op op, int size, int near, double sent,
                          double bytes[MGI_LINKS]);

#endif
