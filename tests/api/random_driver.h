/* SPDX-License-Identifier: MIT
 * What drives random calls of the public interface: numbers of a seed, arguments that are legal or not, trouble that calls meet,
 * and what must hold after each of them. */
#ifndef TESTS_API_RANDOM_DRIVER_H
#define TESTS_API_RANDOM_DRIVER_H

#include "promised.h"
#include "tiny.h"

#include <execinfo.h>
#include <float.h>
#include <math.h>

enum { DRIVERS = 2, SEATS = 2, JOBS = 2, TRAINERS = 2, THINGS = 40, TEMPS = 256, MEMORIES = 4096 };
enum { LOSSES = 4, PLACES = 1 << 15, AGAIN = 20, RARE = 40 };

/* A context's memory, used by any thread. */
typedef struct supply {
    counter counter;
    _Atomic uint64_t
        *refused;          /* PLACES hashes of places where memory was refused once, and to whom */
    _Atomic uint64_t of;   /* who asks: a function, or all jobs */
    _Atomic int64_t until; /* blocks asked for elsewhere, until one is refused; 0: none is */
} supply;

/* What the program that watches sees, should the one that calls die. */
typedef struct page {
    _Atomic uint64_t call[DRIVERS];
    const char *_Atomic under_way[DRIVERS];
    _Atomic uint64_t made[PROMISES], good[PROMISES];
    atomic_flag told;
    _Atomic bool complained;
    char complaint[2000];
} page;

static page *seen;

/* Objects that stay while contexts come and go. */
enum { NOTHING, CLIP, SOUND, DATASET, REPORT, RANKS, PIPELINE, MODEL /* of 8 kinds */ };
enum { TAE, TEXT_ENCODER, VIDEO_MODEL, UPSAMPLER, EDITOR, AUDIO_MODEL, PERSONALIZER, REWRITER };

typedef struct thing {
    int kind, model;
    void *p;
    int locks;          /* jobs that look at it */
    bool plain;         /* of the folder that no call writes, held as its files say */
    int seat;           /* of a pipeline with a mesh: the context's; else -1 */
    void *user;         /* of a dataset: what its callback is given */
    mgen_pipeline pipe; /* of a pipeline */
} thing;

typedef struct job {
    mgen_job *job;
    int kind;    /* CLIP or SOUND: what can be taken */
    int started; /* the function by which */
    bool told, taken, kept, troubled;
    int64_t made_before; /* allocations, most of them of the call that started it */
    mgen_status end;
    thing *sees; /* a clip that must stay */
    void *planes;
    int canonical; /* of a request whose result is known; else -1 */
    _Atomic(mgen_job *) of_callback;
    uint32_t stop_at, cancel_at, calls; /* callbacks: 0 = never */
    mgen_tae *held;                     /* which a callback retains and releases */
} job;

typedef struct trainer {
    mgen_trainer *trainer;
    int loss; /* of a stage whose losses are known; else -1 */
    uint64_t stop_at;
    bool mesh, reads; /* has a mesh, a dataset */
} trainer;

typedef struct seat {
    mgen_context *ctx;
    counter *memory;
    bool tight; /* a memory limit that calls meet */
    job jobs[JOBS];
    job *running; /* whose end was not told */
    trainer trainers[TRAINERS];
    mgen_mesh *mesh;
    bool lost; /* the mesh is only to be destroyed */
    uint64_t progress_left;
    bool stops;
    bool starved;       /* memory was refused to another call while the job runs */
    _Atomic int errors; /* lines of the log since the call, or the job, began */
    bool others;        /* some may be of calls that failed while the job runs */
} seat;

typedef struct driver {
    int number;
    uint64_t seed, calls, n, state;
    char folder[100];
    seat seats[SEATS];
    thing things[THINGS];
    counter *memories[MEMORIES];
    int memory_count;
    /* of the call under way */
    seat *at;
    bool mean;            /* some arguments may be illegal */
    bool illegal, unsure; /* one is; one may be */
    bool reads;           /* a dataset, whose failures it returns */
    bool failing;         /* memory fails */
    bool refused;         /* it did, and what was asked for was not had in another way */
    int again;            /* how often the same call was made before, since memory failed */
    mgen_status also;     /* allowed beside what is promised: a host's own, 0 = none */
    int function;
    mgen_status before;
    char said[1100];
    void *temps[TEMPS];
    int temp_count;
    int64_t times[PROMISES]; /* calls */
    uint64_t opened, asked;  /* models and requests, whose kinds come in turn */
    int64_t depth[PROMISES], job_depth[PROMISES]; /* allocations of the last one that succeeded */
    _Atomic uint64_t places[PLACES];              /* see supply */
} driver;

/* -- what went wrong ------------------------------------------------------------------------------------ */

__attribute__((format(printf, 2, 3), noreturn)) static void complain(driver *d, const char *format,
                                                                     ...)
{
    if (!atomic_flag_test_and_set(&seen->told)) {
        va_list args;
        int n = snprintf(seen->complaint, sizeof seen->complaint, "%s, ",
                         d->function >= 0 ? promises[d->function].name : "between calls");
        va_start(args, format);
        vsnprintf(seen->complaint + n, sizeof seen->complaint - (size_t)n, format, args);
        va_end(args);
        atomic_store(&seen->call[d->number], d->n);
        atomic_store(&seen->complained, true);
    }
    _exit(3);
}

/* -- numbers -------------------------------------------------------------------------------------------- */

static uint64_t draw(driver *d)
{
    uint64_t z = d->state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static uint64_t below(driver *d, uint64_t n)
{
    return draw(d) % n;
}

static bool chance(driver *d, uint64_t one_in)
{
    return below(d, one_in) == 0;
}

#define PICK(d, array) ((array)[below((d), sizeof(array) / sizeof *(array))])

/* What one action draws does not depend on what others drew. */
static void begin_action(driver *d, uint64_t action)
{
    d->state = d->seed * UINT64_C(0xD1342543DE82EF95) + action * UINT64_C(0x2545F4914F6CDD1D) +
               (uint64_t)d->number;
    draw(d);
    d->mean = chance(d, 3);
    d->illegal = d->unsure = d->reads = false;
    d->also = MGEN_OK;
    d->at = NULL;
}

/* -- arguments ------------------------------------------------------------------------------------------- */

static void *temp(driver *d, size_t size)
{
    void *p = malloc(size ? size : 1);
    if (!p || d->temp_count == TEMPS)
        complain(d, "the test's own memory is too small");
    return d->temps[d->temp_count++] = p;
}

static void free_temps(driver *d)
{
    while (d->temp_count > 0)
        free(d->temps[--d->temp_count]);
}

static bool wrong(driver *d)
{
    return d->mean && chance(d, 4);
}

/* NULL, perhaps, where it is illegal. */
static void *or_null(driver *d, const void *p)
{
    if (!p || (d->mean && chance(d, 8))) {
        d->illegal = true;
        return NULL;
    }
    return (void *)p;
}

static uint32_t odd_u32(driver *d, uint32_t good)
{
    static const uint32_t odd[] = {0,     1,     2,     3,         7,          16,        17,
                                   63,    64,    65,    255,       1000,       1001,      4096,
                                   65535, 65536, 65537, INT32_MAX, 0x80000000, UINT32_MAX};
    if (!wrong(d))
        return good;
    d->unsure = true;
    return PICK(d, odd);
}

static uint64_t odd_u64(driver *d, uint64_t good)
{
    static const uint64_t odd[] = {0,
                                   1,
                                   2,
                                   1u << 31,
                                   UINT32_MAX,
                                   (uint64_t)1 << 40,
                                   INT64_MAX,
                                   UINT64_MAX,
                                   UINT64_MAX - 1,
                                   (uint64_t)1 << 63};
    if (!wrong(d))
        return good;
    d->unsure = true;
    return PICK(d, odd);
}

static float odd_float(driver *d, float good)
{
    const float odd[] = {0.0f,       -0.0f,           -1.0f,           1.0f,   0.5f,
                         100.0f,     100.001f,        1e-30f,          1e-42f, FLT_MAX,
                         (float)NAN, (float)INFINITY, (float)-INFINITY};
    if (!wrong(d))
        return good;
    d->unsure = true;
    return PICK(d, odd);
}

/* A reserved field. */
static uint32_t reserved(driver *d)
{
    if (!d->mean || !chance(d, 16))
        return 0;
    d->illegal = true;
    return 1u << below(d, 32);
}

/* NULL, empty, too long, no UTF-8. */
static const char *odd_text(driver *d, const char *good)
{
    static const char *const odd[] = {"",          "\xff\xfe",
                                      "\xc0\x80",  "\xed\xa0\x80",
                                      "a\xe2\x82", "\xf4\x90\x80\x80",
                                      "..",        "a/b",
                                      "%s%n",      "\n\t",
                                      "nothing",   "\"quoted\"",
                                      "\x7f\x01",  "\xf0\x9f\x8e\xac \xc3\xa9t\xc3\xa9",
                                      " "};
    static const size_t lengths[] = {255, 256, 4095, 4096, 4097, 70000};
    if (!wrong(d))
        return good;
    d->unsure = true;
    switch (below(d, 8)) {
    case 0:
        return NULL;
    case 1: {
        const size_t n = PICK(d, lengths);
        char *s = temp(d, n + 1);
        memset(s, chance(d, 2) ? 'a' : 0xC3, n);
        s[n] = 0;
        return s;
    }
    default:
        return PICK(d, odd);
    }
}

/* A path in the driver's folder, or one that is none. */
static const char *path_of(driver *d, const char *name)
{
    static const char *const odd[] = {"%s/missing/%s",     "%s/%s/",   "%s//%s", "%s/./%s",
                                      "%s/recipe.json/%s", "%s/\xff%s"};
    char *s = temp(d, 5000);
    if (!wrong(d)) {
        snprintf(s, 5000, "%s/%s", d->folder, name);
        return s;
    }
    d->unsure = true;
    if (chance(d, 4))
        return odd_text(d, "");
    if (chance(d, 4)) {
        memset(s, 'a', 4999);
        s[4999] = 0;
        memcpy(s, d->folder, strlen(d->folder));
        return s;
    }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(s, 5000, PICK(d, odd), d->folder, name);
#pragma GCC diagnostic pop
    return s;
}

/* A struct as the call gets it, in memory that ends where it says: of an older header, of a newer one, or wrong. */
static void *sized(driver *d, const void *ours, uint32_t size, uint32_t least)
{
    static const uint32_t lengths[] = {4, 8, 65536, 65537, UINT32_MAX};
    uint32_t says = size;
    if (d->mean && chance(d, 4)) {
        switch (below(d, 5)) {
        case 0: /* newer, with what is unknown unset */
            says = size + 8 * (uint32_t)(1 + below(d, 4));
            break;
        case 1:
            says = chance(d, 2) || least == size
                       ? (uint32_t)below(d, least)
                       : least + (uint32_t)below(d, (size - least) / 4) * 4;
            d->illegal = d->illegal || says < least || says % 8;
            d->unsure = true;
            break;
        case 2:
            says = PICK(d, lengths);
            d->illegal = d->illegal || says < least || says > 65536 || says % 8;
            break;
        default:
            break;
        }
    }
    const uint32_t room = says > 65536 ? size : says < 4 ? 4 : says;
    uint8_t *s = temp(d, room);
    memset(s, 0, room);
    memcpy(s, ours, room < size ? room : size);
    memcpy(s, &says, sizeof says);
    if (says > size && says <= 65536 && chance(d, 3)) {
        s[size + below(d, says - size)] = 1;
        d->illegal = true;
    }
    return s;
}
#define SIZED(d, s, least) sized((d), &(s), (uint32_t)sizeof(s), (uint32_t)(least))

/* A context, often one without a job; NULL, perhaps. */
static mgen_context *context_of(driver *d)
{
    d->at = &d->seats[below(d, SEATS)];
    for (int i = 0; i < SEATS && d->at->running && !chance(d, 4); i++)
        d->at = &d->seats[i]; /* one that can do something */
    if (!d->mean || !chance(d, 16))
        return d->at->ctx;
    d->at = NULL;
    d->illegal = true;
    return NULL;
}

/* -- things ----------------------------------------------------------------------------------------------- */

static thing *find(driver *d, int kind, int model)
{
    const uint64_t from = below(d, THINGS);
    for (uint64_t i = 0; i < THINGS; i++) {
        thing *t = &d->things[(from + i) % THINGS];
        if (t->kind == kind && (kind != MODEL || t->model == model))
            return t;
    }
    return NULL;
}

static void *pointer_of(thing *t)
{
    return t ? t->p : NULL;
}

static void drop_thing(driver *d, thing *t);

/* Room for one more: another goes. */
static thing *add(driver *d, int kind, void *p)
{
    thing *t = NULL;
    const uint64_t from = below(d, THINGS);
    for (uint64_t i = 0; i < THINGS && !t; i++)
        t = d->things[i].kind == NOTHING ? &d->things[i] : NULL;
    for (uint64_t i = 0; i < THINGS && !t; i++) {
        thing *u = &d->things[(from + i) % THINGS];
        if (!u->locks) {
            drop_thing(d, u);
            t = u;
        }
    }
    if (!t)
        complain(d, "the test holds too many objects");
    *t = (thing){.kind = kind, .p = p, .seat = -1};
    return t;
}

/* -- calls -------------------------------------------------------------------------------------------------- */

static int function_of(const char *name)
{
    for (int i = 0; i < (int)PROMISES; i++)
        if (!strcmp(promises[i].name, name))
            return i;
    abort();
}

/* Whether a block is refused because none was before that was asked for at this place. */
static bool is_new(void *of, size_t size)
{
    enum { OWN = 3, DEEP = 5 }; /* frames: of the allocators, and with who calls them */
    supply *m = of;
    void *frames[DEEP] = {0};
    (void)size;
    if (atomic_load(&m->until) <= 0)
        return false;
    uint64_t key = atomic_load(&m->of) + 1;
    const int n = backtrace(frames, DEEP);
    for (int i = OWN; i < n; i++)
        key = (key ^ (uint64_t)(uintptr_t)frames[i]) * UINT64_C(0x9E3779B97F4A7C15);
    key |= 1;
    for (uint64_t i = key >> 32, k = 0; k < 16; k++, i++) {
        const uint64_t is = atomic_load(&m->refused[i % PLACES]);
        if (is == key || (is == 0 && atomic_fetch_sub(&m->until, 1) != 1))
            return false;
        if (is == 0) {
            atomic_store(&m->refused[i % PLACES], key);
            return true;
        }
    }
    return false;
}

static void end_failures(seat *s)
{
    atomic_store(&((supply *)s->memory->of)->until, 0);
    set_failure(s->memory, 0, false);
}

/* No more; what was refused stays counted, as a job that runs may ask for it again. */
static void stop_failures(seat *s)
{
    atomic_store(&((supply *)s->memory->of)->until, 0);
    set_failure_ahead(s->memory, 0, false);
}

/* Memory fails once, where it did not before; or at any depth of what makes so many allocations (0: nobody knows), once or from then on. `of`: what
 * fails, a function or the jobs. */
static void fail_memory(driver *d, seat *s, int of, int64_t depth)
{
    supply *m = s->memory->of;
    if (d->again || !chance(d, 3)) {
        atomic_store(&m->of, (uint64_t)of);
        atomic_store(&m->until, 1 + (int64_t)(d->again || chance(d, 2) ? 0 : below(d, 16)));
        return;
    }
    const uint64_t all = depth ? (uint64_t)depth : 64, some = UINT64_C(1) << below(d, 11);
    const uint64_t most = chance(d, 4) ? (all < 8 ? all : 8) : chance(d, 3) ? some : all;
    set_failure_ahead(s->memory, (int64_t)(1 + below(d, most)), !chance(d, 3));
}

/* Memory fails at some allocation of the call, or its progress ends it. A job that runs has its own. */
static void bring_trouble(driver *d)
{
    seat *s = d->at;
    if (s->running) {
        d->failing = s->running->troubled;
        return;
    }
    end_failures(s);
    if (d->again ? d->again <= AGAIN && !chance(d, 16)
                 : chance(d, d->times[d->function] < RARE ? 2 : 4)) {
        fail_memory(d, s, d->function, d->depth[d->function]);
        d->failing = true;
    } else if (chance(d, 12)) {
        s->progress_left = below(d, 8);
        s->stops = true;
    }
}

static bool starts_job(const driver *d)
{
    return strstr(promises[d->function].name, "_start") != NULL;
}

static void end_trouble(driver *d, mgen_status status)
{
    d->refused = false;
    if (!d->at)
        return;
    d->at->stops = false;
    if (d->at->running || !d->at->memory)
        return;
    counter *c = d->at->memory;
    d->refused = d->failing && atomic_load(&c->refused) > 0;
    if (status == MGEN_OK)
        d->depth[d->function] = atomic_load(&c->made);
    if (status == MGEN_OK && starts_job(d))
        stop_failures(d->at);
    else
        end_failures(d->at);
}

/* What a job that was started met is told by its end; films are curated one at a time where several do not fit. */
static bool does_without(const driver *d, mgen_status status)
{
    return (starts_job(d) && status == MGEN_OK) ||
           (!strcmp(promises[d->function].name, "mgen_curate") &&
            (status == MGEN_OK || status == MGEN_E_CANCELLED));
}

/* Whether to make the call again, with memory that fails elsewhere; those are not counted. */
static bool again(driver *d, mgen_status status)
{
    const bool is = status == MGEN_E_NO_MEMORY && d->failing && d->at && !d->at->running &&
                    d->again <= AGAIN && !chance(d, 32);
    d->again = is ? d->again + 1 : 0;
    return is;
}

static void begun(driver *d, const char *name, bool troubles)
{
    d->function = function_of(name);
    d->n += d->again == 0;
    atomic_store(&seen->call[d->number], d->n);
    atomic_store(&seen->under_way[d->number], promises[d->function].name);
    atomic_fetch_add(&seen->made[d->function], 1);
    if (getenv("MOVIEGEN_TELL"))
        fprintf(stderr, "# %d: %llu %s\n", d->number, (unsigned long long)d->n, name);
    d->before = MGEN_OK;
    d->failing = false;
    if (d->at && d->at->ctx && !d->at->running) {
        d->before = mgen_last_status(d->at->ctx);
        snprintf(d->said, sizeof d->said, "%s", mgen_last_error(d->at->ctx));
    }
    if (d->at && !d->at->running)
        atomic_store(&d->at->errors, 0);
    d->times[d->function]++;
    if (d->at && d->at->ctx && troubles)
        bring_trouble(d);
}

/* Words: one line of UTF-8. */
static bool sentence(const char *s)
{
    const size_t n = strlen(s);
    if (n < 9 || s[0] == ' ' || s[n - 1] == ' ')
        return false;
    for (size_t i = 0; i < n;) {
        const uint8_t *u = (const uint8_t *)s + i;
        size_t more = u[0] < 0x80 ? 0 : u[0] >= 0xF0 ? 3 : u[0] >= 0xE0 ? 2 : u[0] >= 0xC2 ? 1 : 9;
        if (u[0] < 0x20 || u[0] == 0x7F || more == 9 || i + more >= n)
            return false;
        for (size_t k = 1; k <= more; k++)
            if ((u[k] & 0xC0) != 0x80)
                return false;
        i += 1 + more;
    }
    return true;
}

static bool allowed(const driver *d, mgen_status status)
{
    const promise *p = &promises[d->function];
    const bool of_ranks =
        status == MGEN_E_PEER_LOST || status == MGEN_E_TIMEOUT || status == MGEN_E_DESYNC;
    if (of_ranks && d->at && !d->at->mesh && strncmp(p->name, "mgen_mesh", 9) &&
        strncmp(p->name, "mgen_job", 8))
        return false;
    for (int i = 0; i < p->statuses; i++)
        if (p->status[i] == status)
            return true;
    if (d->reads && (status == MGEN_E_NOT_FOUND || status == MGEN_E_IO ||
                     status == MGEN_E_CORRUPT || status == MGEN_E_UNSUPPORTED))
        return true;
    return status != MGEN_OK && status == d->also;
}

static void check_message(driver *d, mgen_status status)
{
    const mgen_context *ctx = d->at->ctx;
    const char *now = mgen_last_error(ctx);
    if (starts_job(d) && status == MGEN_OK)
        return; /* the job may have failed by now */
    if (status == MGEN_OK && (mgen_last_status(ctx) != d->before || strcmp(now, d->said)))
        complain(d, "which succeeded, changed the last error to %s: %s",
                 mgen_status_name(mgen_last_status(ctx)), now);
    if (status == MGEN_OK && atomic_load(&d->at->errors))
        complain(d, "which succeeded, logged an error");
    if (status != MGEN_OK && mgen_last_status(ctx) != status)
        complain(d, "%s: the last error is %s: %s", mgen_status_name(status),
                 mgen_status_name(mgen_last_status(ctx)), now);
    if (status != MGEN_OK && !sentence(now))
        complain(d, "%s: the last error is no sentence: \"%s\"", mgen_status_name(status), now);
}

static bool takes_idle(const driver *d)
{
    const promise *p = &promises[d->function];
    for (int i = 0; i < p->statuses; i++)
        if (p->status[i] == MGEN_E_STATE)
            return strncmp(p->name, "mgen_job", 8) != 0;
    return false;
}

/* After a call that answers by a status. `silent`: it leaves no message. */
static mgen_status ended(driver *d, mgen_status status, bool silent)
{
    const bool busy = d->at && d->at->running && takes_idle(d);
    if (d->at && status != MGEN_OK)
        d->at->others = true;
    if (d->at && d->at->running && status == MGEN_E_NO_MEMORY)
        d->at->starved = true;
    const bool stopped = d->at && d->at->stops && status == MGEN_E_CANCELLED;
    end_trouble(d, status);
    const char *name = mgen_status_name(status);
    const char *text = d->at && d->at->ctx && !silent ? mgen_last_error(d->at->ctx) : "";
    if (getenv("MOVIEGEN_TELL"))
        fprintf(stderr, "#    %s %s\n", name, status == MGEN_OK ? "" : text);
    if (!allowed(d, status))
        complain(d, "%s, which its comment does not name: %s", name, text);
    if (d->refused && status != MGEN_E_NO_MEMORY && !does_without(d, status))
        complain(d, "%s, though memory was refused to it: %s", name, text);
    if (status == MGEN_OK && d->illegal)
        complain(d, "took an argument that is illegal");
    if (busy && status == MGEN_OK)
        complain(d, "went on while a job runs");
    if (busy && status != MGEN_E_STATE && !d->illegal && !d->unsure)
        complain(d, "%s while a job runs: %s", name, text);
    const bool excused = d->illegal || d->unsure || busy || stopped ||
                         (d->failing && status == MGEN_E_NO_MEMORY) ||
                         (d->at && d->at->tight && status == MGEN_E_LIMIT) || status == d->also;
    if (status != MGEN_OK && !excused)
        complain(d, "%s with arguments that are legal: %s", name, text);
    if (status == MGEN_OK)
        atomic_fetch_add(&seen->good[d->function], 1);
    if (d->at && d->at->ctx && !silent && !d->at->running)
        check_message(d, status);
    return status;
}

/* A call of a public function with a status; SILENT: it records no message; TOLD: it returns something else. */
#define CALL(d, f, ...)                                                                            \
    ({                                                                                             \
        mgen_status call_status;                                                                   \
        do {                                                                                       \
            begun((d), #f, true);                                                                  \
            call_status = ended((d), f(__VA_ARGS__), false);                                       \
        } while (again((d), call_status));                                                         \
        call_status;                                                                               \
    })
#define SILENT(d, f, ...) (begun((d), #f, false), ended((d), f(__VA_ARGS__), true))
#define TOLD(d, f, ...)                                                                            \
    (begun((d), #f, false), atomic_fetch_add(&seen->good[(d)->function], 1), f(__VA_ARGS__))

/* An output handle: what a caller left in it must go. */
#define POISON(type) ((type *)(uintptr_t)0x5A5A5A50)

static void check_out(driver *d, mgen_status status, const void *out)
{
    const bool is = out && out != (void *)POISON(void);
    if (status == MGEN_OK && !is)
        complain(d, "succeeded without its object");
    if (status != MGEN_OK && out)
        complain(d, "%s, but its object is not NULL", mgen_status_name(status));
}

/* Outputs in the caller's memory: untouched unless all went well. */
typedef struct kept {
    const void *p;
    void *copy;
    size_t size;
} kept;

static kept keep(driver *d, const void *p, size_t size)
{
    if (!p || (uintptr_t)p % 4)
        size = 0;
    kept k = {p, temp(d, size), size};
    if (size)
        memcpy(k.copy, p, size);
    return k;
}

static void check_kept(driver *d, mgen_status status, kept k)
{
    if (status != MGEN_OK && k.size && memcmp(k.p, k.copy, k.size))
        complain(d, "%s, but its output was written", mgen_status_name(status));
}

#endif
