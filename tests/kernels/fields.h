/* SPDX-License-Identifier: MIT
 * What each op's argument struct is made of, for the tests that change one field of it. */
#ifndef CHECKKERNEL_FIELDS_H
#define CHECKKERNEL_FIELDS_H

#include "kernels/mgk.h"

typedef enum {
    FIELD_BUF,
    FIELD_EXTENT,  /* int64: less of it needs no more memory, so that 0 and 1 can be tried */
    FIELD_STRIDE,  /* int64: the same for 0 */
    FIELD_DIVISOR, /* int64: less of it may need more memory */
    FIELD_LENGTH,  /* int64: of a host array, which the check reads: no huge ones */
    FIELD_WORD,    /* u64: any value is legal */
    FIELD_ENUM,    /* int32 */
    FIELD_FLAG,    /* int32: 0 or not */
    FIELD_FLOAT,
    FIELD_POINTER
} field_kind;

typedef struct field {
    const char *name;
    int offset;
    field_kind kind;
} field;

enum { FIELDS_MAX = 48 };

typedef struct field_list {
    const char *ops; /* a folder, or one op of it */
    int bytes, count;
    const field *fields;
} field_list;

const field_list *fields_of(int op);
/* Whether the lists describe every struct whole; prints what is missing. */
bool fields_complete(void);
/* The op does not look at it, though cases set it. */
bool field_unread(int op, const field *f);
/* The check reads an array whose length this field gives: more of it would be read past its end. */
bool field_sizes_array(int op, const void *args, const field *f);
int64_t field_smallest(int op, const field *f); /* of a size, not counting 0 */

int64_t field_get(const void *args, const field *f);
void field_set(void *args, const field *f, int64_t value);

#endif
