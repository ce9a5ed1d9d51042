/* SPDX-License-Identifier: MIT
 * Times of the kernels, and what the machine could do at most. */
#ifndef CHECKKERNEL_BENCH_H
#define CHECKKERNEL_BENCH_H

#include "kernels/cases.h"

/* Measured on one thread: FLOP/s of f32 multiply-adds and of bf16 products (0: no instruction for
 * them), bytes/s where no cache holds them: read at one place and written at another, the same fetching far ahead (0:
 * not measured), read and written at the same place, only read, only written. */
typedef struct machine_peak {
    double f32, bf16, copy, copy_far, in_place, read, write;
} machine_peak;

machine_peak measure_peak(uint32_t cpu); /* with these features alone: MGI_CPU_* */
double now_seconds(void);                /* processor time of this thread */

/* The shapes to time, numbered from 0; false past the last. Their data need no care. */
bool bench_case(mgk_case *c, int index);

/* Print the table for one op or all (NULL), and write it to a file as JSON if one is named; of all
 * variants, or those that the library would choose here. Returns the exit status. */
int bench_run(const char *only_op, const char *only_case, const char *json_path, bool chosen_only);

#endif
