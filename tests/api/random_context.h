/* SPDX-License-Identifier: MIT
 * Random calls on contexts, meshes and statuses. */
#ifndef TESTS_API_RANDOM_CONTEXT_H
#define TESTS_API_RANDOM_CONTEXT_H

#include "random_driver.h"

static void drop_job(driver *d, seat *s, job *j);
static void drop_trainer(driver *d, trainer *t);

static char plugins[4096]; /* where the plug-in is that the host plays */

static void find_plugins(void)
{
    const ssize_t length = readlink("/proc/self/exe", plugins, sizeof plugins - 1);
    assert_true(length > 0);
    plugins[length] = '\0';
    *strrchr(plugins, '/') = '\0';
}

/* Reports that it goes on, until it is told otherwise. */
static int32_t on_context_progress(void *user, const char *what, uint64_t done, uint64_t total)
{
    seat *s = user;
    if (!what || done > total)
        return 1;
    return s->stops && s->progress_left-- == 0;
}

static void on_log(void *user, int32_t level, const char *text)
{
    seat *s = user;
    (void)mgen_status_class(level);
    if (level == MGEN_LOG_ERROR && text)
        atomic_fetch_add(&s->errors, 1);
}

static counter *new_memory(driver *d)
{
    supply *m = calloc(1, sizeof *m);
    if (!m || d->memory_count == MEMORIES)
        complain(d, "the test makes too many contexts");
    m->refused = d->places;
    m->counter.refuses = is_new;
    m->counter.of = m;
    return d->memories[d->memory_count++] = &m->counter;
}

/* Legal params of a seat. */
static mgen_context_params params_of(driver *d, seat *s)
{
    mgen_context_params p = MGEN_CONTEXT_PARAMS_INIT;
    p.threads = 1 + (uint32_t)below(d, 2);
    p.host_memory_max = UINT64_C(512) << 20;
    p.allocator = (mgen_allocator){count_alloc, count_free, s->memory};
    p.log = chance(d, 4) ? NULL : on_log;
    p.log_user = s;
    p.progress = on_context_progress;
    p.progress_user = s;
    p.device = "cpu";
    p.plugin_dir = chance(d, 6) ? d->folder : plugins;
    if (chance(d, 4)) {
        char *cache = temp(d, 200);
        snprintf(cache, 200, "%s/cache", d->folder);
        p.cache_dir = cache;
    }
    return p;
}

static void fill_seat(driver *d, seat *s)
{
    *s = (seat){.memory = new_memory(d)};
    mgen_context_params p = params_of(d, s);
    if (chance(d, 4)) {
        p.host_memory_max = (UINT64_C(6) << 20) + below(d, UINT64_C(40) << 20);
        s->tight = true;
    }
    d->at = NULL;
    d->illegal = d->unsure = false;
    const mgen_status status = SILENT(d, mgen_context_create, &p, &s->ctx);
    check_out(d, status, s->ctx);
    free_temps(d);
}

static void lose_pipelines(driver *d, const seat *s)
{
    for (int i = 0; i < THINGS; i++)
        if (d->things[i].kind == PIPELINE && d->things[i].seat == (int)(s - d->seats))
            drop_thing(d, &d->things[i]);
}

static void drop_mesh(driver *d, seat *s)
{
    for (int i = 0; i < JOBS; i++)
        drop_job(d, s, &s->jobs[i]);
    for (int i = 0; i < TRAINERS; i++)
        if (s->trainers[i].mesh)
            drop_trainer(d, &s->trainers[i]);
    lose_pipelines(d, s);
    TOLD(d, mgen_mesh_destroy, s->mesh);
    s->mesh = NULL;
    s->lost = false;
}

static void empty_seat(driver *d, seat *s)
{
    drop_mesh(d, s);
    for (int i = 0; i < TRAINERS; i++)
        drop_trainer(d, &s->trainers[i]);
    d->at = NULL;
    TOLD(d, mgen_context_destroy, s->ctx);
    *s = (seat){0};
}

static void renew_context(driver *d)
{
    seat *s = &d->seats[below(d, SEATS)];
    if (!chance(d, 3))
        return;
    empty_seat(d, s);
    fill_seat(d, s);
}

/* One beside those of the seats. */
static void odd_context(driver *d)
{
    static const char *const devices[] = {"cpu", "cuda:-1", "gpu", "", "cuda:99999999999", "\xff"};
    seat s = {.memory = new_memory(d)};
    char said[64] = "x";
    mgen_context_params p = params_of(d, &s);
    mgen_context *ctx = POISON(mgen_context), **out = &ctx;
    p.threads = odd_u32(d, p.threads);
    if (p.threads == 0 || p.threads > 4)
        p.threads = p.threads == 0 ? 1 : p.threads; /* up to 256 threads are begun */
    p.host_memory_max = odd_u64(d, p.host_memory_max);
    if (wrong(d)) {
        p.allocator.free = NULL;
        d->illegal = true;
    }
    if (wrong(d)) {
        p.device = PICK(d, devices);
        d->unsure = true;
    }
    if (chance(d, 8)) {
        p.kernels = odd_text(d, "ref");
        d->unsure = d->unsure || p.kernels;
    }
    p.autotune = odd_u32(d, (uint32_t)below(d, 2));
    p.reserved0 = reserved(d);
    p.error_text = chance(d, 2) ? said : NULL;
    p.error_size = p.error_text ? below(d, sizeof said + 1) : 0;
    out = or_null(d, out);
    if (chance(d, 6)) {
        set_failure(s.memory, 1 + (int64_t)below(d, 60), chance(d, 2));
        d->unsure = true;
    }
    const mgen_context_params *sized_p = SIZED(d, p, offsetof(mgen_context_params, autotune));
    uint32_t says;
    memcpy(&says, sized_p, sizeof says);
    const mgen_status status = SILENT(d, mgen_context_create, sized_p, out);
    if (atomic_load(&s.memory->refused) > 0 && status != MGEN_E_NO_MEMORY)
        complain(d, "%s, though memory was refused to it", mgen_status_name(status));
    set_failure(s.memory, 0, false);
    if (out)
        check_out(d, status, ctx);
    if (status == MGEN_OK) {
        if (p.error_text && p.error_size && said[0])
            complain(d, "succeeded with a message: %s", said);
        TOLD(d, mgen_context_destroy, ctx);
    } else if (p.error_text && p.error_size > 12 && out && !d->illegal && said[0] == 'x') {
        complain(d, "%s without a message", mgen_status_name(status));
    }
    if (atomic_load(&s.memory->blocks))
        complain(d, "left %d blocks", (int)atomic_load(&s.memory->blocks));
}

static void look_at_context(driver *d)
{
    uint64_t now = 1, peak = 1;
    mgen_context *ctx = context_of(d);
    const bool busy = d->at && d->at->running;
    d->illegal = false; /* NULL is fine */
    TOLD(d, mgen_context_memory, ctx, chance(d, 8) ? NULL : &now, chance(d, 8) ? NULL : &peak);
    if (!busy && d->at && now != 1 && peak != 1 && (now > peak || peak > UINT64_C(512) << 20))
        complain(d, "%llu bytes, %llu at most", (unsigned long long)now, (unsigned long long)peak);
    TOLD(d, mgen_context_trim, ctx);
    if (!TOLD(d, mgen_context_kernels, ctx))
        complain(d, "no text");
    if (!busy && !TOLD(d, mgen_last_error, ctx))
        complain(d, "no text");
    if (!busy && TOLD(d, mgen_last_status, ctx) > 0)
        complain(d, "no status");
}

static void ask_statuses(driver *d)
{
    const int32_t any = (int32_t)draw(d), one = chance(d, 2) ? any : -(int32_t)below(d, 100);
    const uint32_t i = chance(d, 2) ? (uint32_t)below(d, 400) : (uint32_t)draw(d);
    if (!TOLD(d, mgen_status_name, one) || !TOLD(d, mgen_version))
        complain(d, "no text");
    const int32_t class = TOLD(d, mgen_status_class, one);
    if (class < MGEN_CLASS_OK || class > MGEN_CLASS_DEAD)
        complain(d, "class %d", class);
    const bool is = TOLD(d, mgen_abi_name, i) != NULL;
    const int64_t value = TOLD(d, mgen_abi_value, i);
    if (!is && value)
        complain(d, "a value without a name");
    const bool prompt = TOLD(d, mgen_toybox_prompt, i) != NULL;
    if (prompt != (i < 36))
        complain(d, "prompt %u", i);
}

/* -- ranks ------------------------------------------------------------------------------------------------ */

static void make_ranks(driver *d)
{
    mgen_ranks *ranks = POISON(mgen_ranks);
    mgen_context *ctx = context_of(d);
    const uint32_t size = odd_u32(d, 1 + (uint32_t)below(d, 2));
    mgen_ranks **out = or_null(d, &ranks);
    const mgen_status status = CALL(d, mgen_ranks_create, ctx, size, 1, out);
    if (out)
        check_out(d, status, ranks);
    if (status == MGEN_OK)
        add(d, RANKS, ranks);
}

static int32_t exchange_alone(void *user, const void *mine, void *all, uint64_t bytes)
{
    memcpy(all, mine, bytes);
    return *(int32_t *)user;
}

static void make_mesh(driver *d)
{
    static const char *const axes[] = {"dp=1", "dp=1,cp=1,tp=1", "tp=2",
                                       "dp=",  "dp=0",           "dp=-1",
                                       "x=1",  "dp=1,dp=1",      "dp=99999999999"};
    mgen_mesh *mesh = POISON(mgen_mesh), **out;
    mgen_mesh_params p = MGEN_MESH_PARAMS_INIT;
    thing *ranks = find(d, RANKS, 0);
    mgen_context *ctx = context_of(d);
    int32_t answer = wrong(d) ? 1 : 0;
    char meet[160];
    p.timeout_ms = 1;
    d->unsure = true; /* ranks may be taken, or have two places */
    switch (below(d, 4)) {
    case 0:
        p.exchange = exchange_alone;
        p.user = &answer;
        p.size = 1;
        break;
    case 1:
        snprintf(meet, sizeof meet, "file://%s/meet", d->folder);
        p.meet = odd_text(d, meet);
        p.size = 1;
        break;
    default:
        p.ranks = pointer_of(ranks);
        break;
    }
    if (!p.ranks && !p.meet && !p.exchange)
        return; /* MPI begins once in a process */
    p.rank = odd_u32(d, 0);
    p.size = odd_u32(d, p.size);
    p.size = p.size > 2 && p.size < 65537 ? 2 : p.size;
    p.axes = wrong(d) ? PICK(d, axes) : NULL;
    p.run = chance(d, 8) ? odd_text(d, "run") : NULL;
    p.by_host = odd_u32(d, 0);
    p.reserved0 = reserved(d);
    out = or_null(d, &mesh);
    const mgen_status status =
        CALL(d, mgen_mesh_create, ctx, SIZED(d, p, offsetof(mgen_mesh_params, meet)), out);
    if (out)
        check_out(d, status, mesh);
    if (status != MGEN_OK)
        return;
    if (d->at->mesh)
        drop_mesh(d, d->at);
    d->at->mesh = mesh;
}

static void use_mesh(driver *d)
{
    seat *s = &d->seats[below(d, SEATS)];
    d->at = s;
    mgen_mesh *mesh = chance(d, 16) ? NULL : s->mesh;
    if (TOLD(d, mgen_mesh_rank, mesh) != 0 || TOLD(d, mgen_mesh_size, mesh) < 1)
        complain(d, "not the rank and size of a mesh of one");
    if (mesh && chance(d, 6)) {
        TOLD(d, mgen_mesh_abort, mesh);
        s->lost = true;
    }
    d->illegal = !mesh;
    d->unsure = s->lost;
    d->also = s->lost ? MGEN_E_PEER_LOST : MGEN_OK;
    if (mesh)
        CALL(d, mgen_mesh_barrier, mesh);
    else
        SILENT(d, mgen_mesh_barrier, mesh);
    if (chance(d, 6) || s->lost)
        drop_mesh(d, s);
}

#endif
