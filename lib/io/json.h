/* SPDX-License-Identifier: MIT
 * Strict JSON (RFC 8259): UTF-8 checked, duplicate keys refused, caps on depth, nodes and size,
 * integers exact in 64 bits. Tier 1. */
#ifndef MGI_IO_JSON_H
#define MGI_IO_JSON_H

#include "core/context.h"

#define MGI_JSON_DEPTH_MAX 32
#define MGI_JSON_NODES_MAX 4000000
#define MGI_JSON_SIZE_MAX  100000000 /* bytes, the limit of a safetensors header */

typedef enum {
    MGI_JSON_NULL,
    MGI_JSON_BOOL,
    MGI_JSON_INT, /* written without '.' or exponent and within int64 */
    MGI_JSON_REAL,
    MGI_JSON_STRING,
    MGI_JSON_ARRAY,
    MGI_JSON_OBJECT
} mgi_json_kind;

typedef struct mgi_json mgi_json; /* one value; the root owns all */
struct mgi_json {
    mgi_json_kind kind;
    uint32_t line;   /* of the text, from 1; of a member, that of its key: for messages */
    const char *key; /* inside an object, NUL-terminated; else NULL. Keys and strings hold no NUL */
    int64_t i;       /* BOOL, INT; element count of ARRAY and OBJECT */
    double d;        /* INT, REAL */
    const char *s;   /* STRING */
    size_t s_len;
    const mgi_json *child, *next; /* first element; next element of the parent */
    size_t offset;                /* byte in the text, of a member that of its key */
};

/* Parse all of text[0..size). `what` names the source in messages. CORRUPT with line and column. */
mgen_status mgi_json_parse(mgen_context *ctx, const char *what, const char *text, size_t size,
                           mgi_json **out);
void mgi_json_free(mgen_context *ctx, mgi_json *root);

/* Bytes of the character at text[0..size): 1 to 4, or 0 if it is not UTF-8 (or size is 0). */
size_t mgi_utf8_length(const char *text, size_t size);

const mgi_json *mgi_json_find(const mgi_json *object, const char *key); /* NULL if absent */

/* Typed reads of a member. A missing key leaves *out as it was (the default) unless `required`;
 * a wrong kind or a value outside [min, max] is CORRUPT with the key and the value. */
mgen_status mgi_json_get_int(mgen_context *ctx, const mgi_json *object, const char *key,
                             bool required, int64_t min, int64_t max, int64_t *out);
mgen_status mgi_json_get_real(mgen_context *ctx, const mgi_json *object, const char *key,
                              bool required, double min, double max, double *out);
mgen_status mgi_json_get_bool(mgen_context *ctx, const mgi_json *object, const char *key,
                              bool required, bool *out);
mgen_status mgi_json_get_string(mgen_context *ctx, const mgi_json *object, const char *key,
                                bool required, const char **out);
/* One of `count` names, by its place; the first if the key is absent. */
mgen_status mgi_json_get_choice(mgen_context *ctx, const mgi_json *object, const char *key,
                                const char *const *names, int count, int32_t *out);
/* A list of 1 to `most` whole numbers from `min` to `max`; it is required. */
mgen_status mgi_json_get_ints(mgen_context *ctx, const mgi_json *object, const char *key, int most,
                              int64_t min, int64_t max, int64_t *out, int *count);
/* CORRUPT if the object has a key that is not in the NULL-terminated list: says which, where, and what of the list is
 * nearest to it. To be asked before members are read, so that a misspelt key is not reported as a missing one. */
mgen_status mgi_json_only_keys(mgen_context *ctx, const mgi_json *object, const char *const *keys);

/* Whether two objects differ; their members' order does not matter. *out says where, for messages: "dim": 64 and 128. */
bool mgi_json_difference(const mgi_json *a, const mgi_json *b, char *out, size_t size);

/* Writing: a growing text. Commas, indentation and escapes are the writer's business. Errors are
 * sticky and come out of mgi_json_text. */
typedef struct mgi_json_writer {
    mgen_context *ctx;
    char *text;
    size_t size, capacity;
    int depth, indent; /* indent 0 = one line */
    bool comma;
    mgen_status status;
} mgi_json_writer;
void mgi_json_writer_init(mgi_json_writer *w, mgen_context *ctx, int indent);
void mgi_json_open(mgi_json_writer *w, const char *key,
                   char bracket);                      /* '{' or '['; key NULL in arrays */
void mgi_json_close(mgi_json_writer *w, char bracket); /* '}' or ']' */
void mgi_json_put_int(mgi_json_writer *w, const char *key, int64_t value);
void mgi_json_put_real(mgi_json_writer *w, const char *key,
                       double value); /* shortest that reads back as float; NaN: null */
void mgi_json_put_bool(mgi_json_writer *w, const char *key, bool value);
void mgi_json_put_string(mgi_json_writer *w, const char *key, const char *value);
mgen_status mgi_json_text(mgi_json_writer *w, const char **text, size_t *size); /* NUL-terminated */
/* A copy of the text, which is the caller's; frees the writer either way. */
mgen_status mgi_json_take(mgi_json_writer *w, char **out);
/* The text and a newline as a file, complete or not at all; frees the writer either way. */
mgen_status mgi_json_save(mgi_json_writer *w, const char *path);
void mgi_json_writer_free(mgi_json_writer *w);

#endif
