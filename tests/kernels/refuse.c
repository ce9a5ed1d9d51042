/* SPDX-License-Identifier: MIT
 * Just-illegal arguments made from legal ones.
 *
 * A check must never crash, and must name a reason for what it refuses. Whether a change has to be
 * refused depends on the case (a stride that one row never uses), so a rule is broken only if no case
 * of the op refuses it:
 *   - a size or stride that is not 0 in some case: -1, and (except of divisors) what no memory holds;
 *   - a kind that is not 0 in some case: a kind that nobody knows;
 *   - a buffer: a dtype that nobody knows, and i32 in place of a real one.
 * What is accepted though it is no case's own is run, on buffers that fit (derive_case): without one
 * of the buffers, with another real dtype of one, with a size of 0 or 1. */
#include "refuse.h"

#include "core/philox.h"
#include "fields.h"
#include "run.h"

#include <stdio.h>
#include <string.h>

enum { NEGATIVE, HUGE_SIZE, NO_SUCH_KIND, NO_SUCH_DTYPE, OTHER_TYPE, PROBES };
enum { RANDOM_TRIES = 24, STREAM = 9000, DERIVED_BYTES = 1 << 18, DERIVED_EACH = 2 };
static const char *const probe_names[PROBES] = {"-1", "a huge value", "an unknown kind",
                                                "an unknown dtype", "i32 in its place"};

typedef struct record {
    uint8_t tried, refused; /* a bit each probe */
    bool set;               /* in some case */
    uint8_t derived[2][2];  /* how often: [size of 0 or 1; NULL or other dtype][bf16] */
} record;

static struct {
    record fields[MGK_OP_COUNT][FIELDS_MAX];
    uint8_t all_small[MGK_OP_COUNT][2];
    bool sized[MGK_OP_COUNT], zero[MGK_OP_COUNT], one[MGK_OP_COUNT]; /* by note_sizes */
    int silent[MGK_OP_COUNT];
    uint64_t tries;
} state;

/* Ask the check; what it accepts must have a workspace, too. */
static bool refused(mgk_case *c, bool with_workspace)
{
    const char *why = NULL;
    if (mgk_ops[c->op].check(c->args.bytes, &why)) {
        for (int threads = 1; with_workspace && threads <= 3; threads++)
            mgk_ops[c->op].workspace(c->args.bytes, threads);
        return false;
    }
    if (!why || !*why) {
        if (state.silent[c->op]++ == 0)
            blame(c, "check", "illegal arguments were refused without a reason");
    }
    return true;
}

static void probe(record *r, int which, bool was_refused)
{
    r->tried |= (uint8_t)(1 << which);
    if (was_refused)
        r->refused |= (uint8_t)(1 << which);
}

static void probe_value(mgk_case *c, record *r, const field *f, int which, int64_t value)
{
    int64_t old = field_get(c->args.bytes, f);
    snprintf(checker_state.now, sizeof checker_state.now, "%s check, case '%s', %s = %lld",
             mgk_ops[c->op].name, c->label, f->name, (long long)value);
    field_set(c->args.bytes, f, value);
    probe(r, which, refused(c, true));
    field_set(c->args.bytes, f, old);
}

static int64_t count_of(const mgk_case *c, const mgk_buf *slot)
{
    for (int i = 0; i < c->buf_count; i++)
        if (c->bufs[i].slot == slot)
            return c->bufs[i].count;
    return 0;
}

static bool is_real(int32_t dtype)
{
    return dtype == MGK_F32 || dtype == MGK_BF16;
}

static void probe_buffer(mgk_case *c, record *r, const field *f)
{
    mgk_buf *slot = (mgk_buf *)(void *)(c->args.bytes + f->offset), old = *slot;
    if (!old.p || count_of(c, slot) == 0)
        return;
    r->set = true;
    snprintf(checker_state.now, sizeof checker_state.now, "%s check, case '%s', buffer %s changed",
             mgk_ops[c->op].name, c->label, f->name);
    slot->p = NULL;
    refused(c, false);
    slot->p = old.p;
    slot->dtype = 99;
    probe(r, NO_SUCH_DTYPE, refused(c, false));
    slot->dtype = MGK_I32;
    if (is_real(old.dtype))
        probe(r, OTHER_TYPE, refused(c, false));
    *slot = old;
}

static int64_t random_value(const field *f, uint64_t bits)
{
    static const int64_t values[] = {
        -1,        0,         1,  2,  7,  INT64_MAX, INT64_MIN, INT64_MAX / 2,
        1LL << 31, 1LL << 32, -7, 63, 65, -2,        1LL << 47};
    static const int32_t floats[] = {0, (int32_t)0xbf800000, 0x7f800000, 0x7fc00000};
    if (f->kind == FIELD_FLOAT)
        return floats[bits % 4];
    return values[bits % (sizeof values / sizeof values[0])];
}

/* Two fields at once, at random: only for crashes. */
static void try_random(mgk_case *c, const field_list *l)
{
    for (int i = 0; i < RANDOM_TRIES; i++) {
        uint8_t old[sizeof c->args.bytes];
        char changes[2][48] = {"", ""};
        memcpy(old, c->args.bytes, sizeof old);
        for (int j = 0; j < 2; j++) {
            uint64_t bits = mgi_random_u32(checker_state.seed, STREAM, state.tries++);
            const field *f = &l->fields[bits % (uint64_t)l->count];
            bits >>= 8;
            if (f->kind == FIELD_BUF) {
                mgk_buf *slot = (mgk_buf *)(void *)(c->args.bytes + f->offset);
                slot->dtype = (int32_t)(bits % 8) - 1;
                slot->p = bits & 8 ? NULL : slot->p;
                snprintf(changes[j], sizeof changes[j], "%s: %s, dtype %d", f->name,
                         slot->p ? "given" : "NULL", slot->dtype);
            } else if (f->kind != FIELD_POINTER && f->kind != FIELD_LENGTH &&
                       !field_sizes_array(c->op, c->args.bytes, f)) {
                field_set(c->args.bytes, f, random_value(f, bits));
                snprintf(changes[j], sizeof changes[j], "%s = %lld", f->name,
                         (long long)field_get(c->args.bytes, f));
            }
        }
        snprintf(checker_state.now, sizeof checker_state.now, "%s check, case '%s', %s, %s",
                 mgk_ops[c->op].name, c->label, changes[0], changes[1]);
        refused(c, true);
        memcpy(c->args.bytes, old, sizeof old);
    }
}

void refuse_try(mgk_case *c)
{
    const field_list *l = fields_of(c->op);
    for (int i = 0; l && i < l->count; i++) {
        const field *f = &l->fields[i];
        record *r = &state.fields[c->op][i];
        if (f->kind == FIELD_BUF) {
            probe_buffer(c, r, f);
            continue;
        }
        if (field_get(c->args.bytes, f) == 0)
            continue;
        r->set = true;
        if (f->kind == FIELD_ENUM) {
            probe_value(c, r, f, NO_SUCH_KIND, 99);
        } else if (f->kind <= FIELD_LENGTH) {
            probe_value(c, r, f, NEGATIVE, -1);
            if (f->kind != FIELD_LENGTH && f->kind != FIELD_DIVISOR &&
                !field_sizes_array(c->op, c->args.bytes, f))
                probe_value(c, r, f, HUGE_SIZE, INT64_MAX - 3);
        }
    }
    if (l)
        try_random(c, l);
}

int refuse_report(int op, bool whole)
{
    const field_list *l = fields_of(op);
    int failures = state.silent[op];
    for (int i = 0; l && whole && i < l->count; i++) {
        const record *r = &state.fields[op][i];
        for (int p = 0; p < PROBES; p++) {
            if (!(r->tried >> p & 1) || r->refused >> p & 1 || field_unread(op, &l->fields[i]))
                continue;
            printf("# %s check: %s: %s is never refused\n", mgk_ops[op].name, l->fields[i].name,
                   probe_names[p]);
            failures++;
        }
    }
    if (whole && state.sized[op] && !(state.zero[op] && state.one[op])) {
        printf("# %s: no legal case has %s\n", mgk_ops[op].name,
               state.zero[op] ? "a single element" : "a size of 0");
        failures++;
    }
    return failures;
}

int refuse_count(int op)
{
    int count = 0;
    for (int i = 0; i < FIELDS_MAX; i++)
        count += __builtin_popcount(state.fields[op][i].refused);
    return count;
}

/* ---- the smallest sizes ---- */

static size_t case_bytes(const mgk_case *c)
{
    size_t bytes = 0;
    for (int i = 0; i < c->buf_count; i++)
        bytes += buf_bytes(&c->bufs[i]);
    return bytes;
}

static bool accepted(const mgk_case *c)
{
    const char *why;
    return mgk_ops[c->op].check(c->args.bytes, &why);
}

/* Every size as small as the others allow. */
static void make_all_small(mgk_case *small, const field_list *l)
{
    for (int i = 0; i < 2 * l->count; i++) { /* twice, as sizes depend on each other */
        const field *f = &l->fields[i % l->count];
        int64_t old = field_get(small->args.bytes, f);
        if (f->kind != FIELD_EXTENT || old <= field_smallest(small->op, f))
            continue;
        field_set(small->args.bytes, f, field_smallest(small->op, f));
        if (!accepted(small))
            field_set(small->args.bytes, f, old);
    }
    snprintf(small->derived, sizeof small->derived, ", all sizes 1");
}

/* The case with a size of 0 or 1. */
static bool derive_size(mgk_case *d, const mgk_case *c, const field *f, int value)
{
    bool reducible = f->kind == FIELD_EXTENT || (f->kind == FIELD_STRIDE && value == 0);
    if (!reducible || field_get(c->args.bytes, f) <= value)
        return false;
    case_copy(d, c);
    field_set(d->args.bytes, f, value);
    snprintf(d->derived, sizeof d->derived, ", %s = %d", f->name, value);
    return accepted(d);
}

/* The case without a buffer, or with a buffer of the other real dtype. */
static bool derive_buffer(mgk_case *d, const mgk_case *c, const field *f, int other_dtype)
{
    int i = 0;
    if (c->finish) /* it may make other pointers from this one */
        return false;
    case_copy(d, c);
    mgk_buf *slot = (mgk_buf *)(void *)(d->args.bytes + f->offset);
    while (i < d->buf_count && d->bufs[i].slot != slot)
        i++;
    if (i == d->buf_count || d->bufs[i].count == 0 || (other_dtype && !is_real(slot->dtype)))
        return false;
    if (other_dtype) {
        d->bufs[i].dtype = slot->dtype = slot->dtype == MGK_F32 ? MGK_BF16 : MGK_F32;
    } else {
        *slot = (mgk_buf){0};
        d->bufs[i] = d->bufs[--d->buf_count];
    }
    snprintf(d->derived, sizeof d->derived, ", %s %s", f->name,
             other_dtype ? "of another dtype" : "NULL");
    return accepted(d);
}

bool derive_case(mgk_case *d, const mgk_case *c, int *at)
{
    const field_list *l = fields_of(c->op);
    const int bf16 = has_bf16(c);
    if (!l || case_bytes(c) > DERIVED_BYTES)
        return false;
    while (*at < 2 * l->count) {
        const int i = *at / 2, value = (*at)++ % 2;
        const field *f = &l->fields[i];
        uint8_t *seen = &state.fields[c->op][i].derived[value][bf16];
        if (*seen < DERIVED_EACH &&
            (f->kind == FIELD_BUF ? derive_buffer(d, c, f, value) : derive_size(d, c, f, value))) {
            ++*seen;
            return true;
        }
    }
    if ((*at)++ > 2 * l->count || state.all_small[c->op][bf16] >= DERIVED_EACH)
        return false;
    state.all_small[c->op][bf16]++;
    case_copy(d, c);
    make_all_small(d, l);
    return true;
}

void note_sizes(const mgk_case *c)
{
    const field_list *l = fields_of(c->op);
    bool zero = false, one = true, sized = false;
    for (int i = 0; l && i < l->count; i++) {
        const field *f = &l->fields[i];
        int64_t value = field_get(c->args.bytes, f);
        if (f->kind == FIELD_LENGTH && value > 0) { /* the sizes stand in the items */
            bool single = false;
            for (int b = 0; b < c->buf_count; b++) {
                zero = zero || c->bufs[b].count == 0;
                single = single || c->bufs[b].count == 1;
            }
            sized = true;
            one = one && single;
        }
        if (f->kind != FIELD_EXTENT || field_unread(c->op, f))
            continue;
        sized = sized || value != 0;
        zero = zero || (value == 0 && state.fields[c->op][i].set);
        one = one && value <= field_smallest(c->op, f);
    }
    state.sized[c->op] = state.sized[c->op] || sized;
    state.zero[c->op] = state.zero[c->op] || zero;
    state.one[c->op] = state.one[c->op] || (one && sized);
}
