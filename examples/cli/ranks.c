/* SPDX-License-Identifier: MIT
 * A command as one of several ranks: the processes of a launcher (mpirun, srun, torchrun, a script), or threads of this
 * process. */
#include "cli.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS_MAX = 64, LATE = 2 /* seconds of waiting of which nothing is said */ };
enum { STACK = 4 << 20 /* bytes; some C libraries give a thread 128 KB */ };

/* Where launchers tell a process which one it is: its number and how many there are, in all and on its machine. */
typedef struct launched {
    const char *rank, *size, *local_rank, *local_size;
    const char *with; /* another variable, without which these mean nothing; or NULL */
} launched;

/* What starts processes of its own inside of another's comes first. */
static const launched launchers[] = {
    {"MOVIEGEN_RANK", "MOVIEGEN_RANKS", "MOVIEGEN_LOCAL_RANK", "MOVIEGEN_LOCAL_RANKS",
     "MOVIEGEN_RANKS"},
    {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR"},
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
     "OMPI_COMM_WORLD_LOCAL_SIZE", NULL},
    {"PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", NULL},
    {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE", NULL},
    {"SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE", "MOVIEGEN_MEET"},
};

static int own_rank = -1; /* as the options said; -1: they did not */

static int number_of(const char *name, int otherwise)
{
    const char *text = getenv(name);
    char *end;
    long value = text ? strtol(text, &end, 10) : -1;
    return text && end != text && !*end && value >= 0 && value <= 1 << 20 ? (int)value : otherwise;
}

/* Of several processes; NULL: there is one. */
static const launched *launcher(void)
{
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++)
        if (number_of(launchers[i].size, 1) > 1 && number_of(launchers[i].rank, -1) >= 0 &&
            (!launchers[i].with || getenv(launchers[i].with)))
            return &launchers[i];
    return NULL;
}

bool ranks_speaks(void)
{
    const launched *l = launcher();
    return own_rank >= 0 ? own_rank == 0 : !l || number_of(l->rank, 0) == 0;
}

/* One of several processes, and where it meets the others. */
typedef struct self {
    int rank, size, local, beside;
    char meet[512], run[300]; /* "": by MPI; none */
} self;

/* Torchrun: where its rank 0 is. Its agent may listen at that port itself, and leaves the next one. */
static void meet_as_torchrun(self *me)
{
    const char *host = getenv("MASTER_ADDR"), *agent = getenv("TORCHELASTIC_USE_AGENT_STORE");
    int port = number_of("MASTER_PORT", 29500) + (agent && !strcmp(agent, "True"));
    const char *run = getenv("TORCHELASTIC_RUN_ID");
    bool colons = strchr(host, ':') != NULL;
    snprintf(me->meet, sizeof me->meet, "tcp://%s%s%s:%d", colons ? "[" : "", host,
             colons ? "]" : "", port);
    if (run)
        snprintf(me->run, sizeof me->run, "%.200s-%d", run,
                 number_of("TORCHELASTIC_RESTART_COUNT", 0));
}

/* False: it was said what is missing. size 0: there is one process. */
static bool find_self(const cli_command *command, const cli_place *place, self *me)
{
    const launched *l = launcher();
    const char *meet = place->meet ? place->meet : getenv("MOVIEGEN_MEET");
    const char *run = place->run ? place->run : getenv("MOVIEGEN_RUN_ID");
    bool told = place->rank != RANK_UNTOLD || place->ranks;
    *me = (self){.rank = l ? number_of(l->rank, 0) : -1,
                 .size = l ? number_of(l->size, 1) : 0,
                 .local = l ? number_of(l->local_rank, 0) : 0,
                 .beside = l ? number_of(l->local_size, 1) : 1};
    if (l && l->with && !strcmp(l->with, "MASTER_ADDR"))
        meet_as_torchrun(me);
    if (place->rank != RANK_UNTOLD)
        me->rank = (int)place->rank;
    if (place->ranks)
        me->size = (int)place->ranks;
    if (meet)
        snprintf(me->meet, sizeof me->meet, "%s", meet);
    if (run)
        snprintf(me->run, sizeof me->run, "%s", run);
    if ((meet || told) && (me->rank < 0 || me->size < 1)) {
        complain(command, "--rank and --ranks are needed, both, where no launcher tells them");
        return false;
    }
    if (told && !me->meet[0]) {
        complain(command, "--rank and --ranks need --meet ADDRESS");
        return false;
    }
    if (me->size && me->rank >= me->size) {
        complain(command, "there is no rank %d of %d: they are numbered from 0", me->rank,
                 me->size);
        return false;
    }
    own_rank = place->rank != RANK_UNTOLD ? me->rank : -1;
    return true;
}

/* Ranks of a mesh that are threads: as many as it has places. What is wrong with it, the library says. */
static int places_of(const char *mesh)
{
    long places = 1;
    for (const char *at = mesh; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (!strncmp(at, "dp=", 3) || !strncmp(at, "cp=", 3) || !strncmp(at, "tp=", 3)) {
            long size = strtol(at + 3, NULL, 10);
            places *= size < 1 ? 1 : size > THREADS_MAX ? THREADS_MAX + 1 : size;
        }
        if (places > THREADS_MAX)
            return THREADS_MAX + 1;
    }
    return (int)places;
}

/* Compute threads of one of `count` ranks on this machine, which may have been bound to some processors already. */
static uint32_t threads_of(uint32_t wanted, int count)
{
    cpu_set_t set;
    long all = sysconf(_SC_NPROCESSORS_ONLN), share = all / (count > 1 ? count : 1);
    long own = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : share;
    share = own < share ? own : share;
    return wanted ? wanted : share < 1 ? 1 : share > 256 ? 256 : (uint32_t)share;
}

typedef struct rank {
    const cli_command *command;
    const cli_place *place;
    cli_work *work;
    const void *options;
    mgen_ranks *meeting; /* of threads */
    const self *process; /* or NULL */
    int index, local, beside;
    int result;
} rank;

/* A GPU for each rank of a machine, where "cuda" is asked for. */
static bool open_session(cli_session *s, const rank *r)
{
    char device[32];
    const char *wanted = r->place->device ? r->place->device : getenv("MOVIEGEN_DEVICE");
    snprintf(device, sizeof device, "cuda:%d", r->local);
    bool own = wanted && !strcmp(wanted, "cuda");
    return session_open(s, r->command, threads_of(r->place->threads, r->beside),
                        own ? device : r->place->device, r->place->autotune);
}

/* What is said, once, if the others are late; written by a signal's handler. */
static char late[512];

static void on_late(int number)
{
    (void)number;
    int before = errno;
    if (write(STDERR_FILENO, late, strlen(late)) < 0)
        errno = 0;
    errno = before;
}

static void meet_begin(const rank *r)
{
    struct sigaction action = {.sa_handler = on_late, .sa_flags = SA_RESTART};
    int size =
        snprintf(late, sizeof late,
                 "moviegen %s: rank %d of %d waits for the others at %.300s; Ctrl-C ends it\n",
                 r->command->name, r->index, r->process->size, r->process->meet);
    sigemptyset(&action.sa_mask);
    interrupt_catch();
    if (size > 0 && !sigaction(SIGALRM, &action, NULL))
        alarm(LATE);
}

static int work_as(rank *r, cli_session *s)
{
    mgen_mesh_params p = MGEN_MESH_PARAMS_INIT;
    p.ranks = r->meeting;
    p.rank = (uint32_t)r->index;
    p.axes = r->place->mesh;
    if (r->process && r->process->meet[0]) {
        p.meet = r->process->meet;
        p.run = r->process->run[0] ? r->process->run : NULL;
        p.size = (uint32_t)r->process->size;
    }
    s->rank = r->index;
    if (p.meet)
        meet_begin(r);
    mgen_status status = mgen_mesh_create(s->ctx, &p, &s->mesh);
    if (p.meet)
        alarm(0);
    else if (r->process)
        interrupt_catch(); /* MPI asks nobody whether to wait on: until now Ctrl-C ended the process */
    if (status == MGEN_E_CANCELLED && p.meet) {
        complain(r->command, "rank %d: stopped while it waited for the others at %s", r->index,
                 p.meet);
        return STATUS_INTERRUPTED;
    }
    if (status != MGEN_OK && status != MGEN_E_INVALID && p.meet) { /* not all may know */
        complain(r->command, "rank %d: %s", r->index, mgen_last_error(s->ctx));
        return STATUS_ERROR;
    }
    if (status != MGEN_OK)
        return complain_library(s, status);
    return r->work(s, r->options);
}

static void *rank_main(void *arg)
{
    rank *r = arg;
    cli_session s;
    r->result = open_session(&s, r) ? work_as(r, &s) : STATUS_ERROR;
    session_close(&s);
    return NULL;
}

static int run_threads(const rank *like, int count)
{
    static rank ranks[THREADS_MAX];
    pthread_t threads[THREADS_MAX];
    pthread_attr_t attr;
    mgen_ranks *meeting = NULL;
    cli_session s;
    int started = 0, result = STATUS_DONE;
    mgen_status status = MGEN_E_INTERNAL;
    if (session_open(&s, like->command, 1, "cpu", false))
        status = mgen_ranks_create(s.ctx, (uint32_t)count, 0, &meeting);
    if (status != MGEN_OK && s.ctx)
        complain_library(&s, status);
    session_close(&s);
    if (status != MGEN_OK)
        return STATUS_ERROR;
    const bool room = !pthread_attr_init(&attr) && !pthread_attr_setstacksize(&attr, STACK);
    for (int i = 0; i < count; i++) {
        ranks[i] = *like;
        ranks[i].meeting = meeting;
        ranks[i].index = ranks[i].local = i;
        ranks[i].beside = count;
        if (!room || pthread_create(&threads[i], &attr, rank_main, &ranks[i])) {
            complain(like->command, "no thread could be started for rank %d", i);
            exit(STATUS_ERROR); /* the others would wait for it */
        }
        started++;
    }
    pthread_attr_destroy(&attr);
    for (int i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
        result = ranks[i].result > result ? ranks[i].result : result;
    }
    mgen_ranks_destroy(meeting);
    return result;
}

int ranks_run(const cli_command *command, const cli_place *place, cli_work *work,
              const void *options)
{
    rank r = {.command = command, .place = place, .work = work, .options = options, .beside = 1};
    cli_session s;
    self me;
    if (!find_self(command, place, &me))
        return STATUS_USAGE;
    if (me.size) {
        r.process = &me;
        r.index = me.rank;
        r.local = me.local;
        r.beside = me.beside;
        rank_main(&r);
        return r.result;
    }
    interrupt_catch();
    int places = place->mesh ? places_of(place->mesh) : 1;
    if (places > THREADS_MAX) {
        complain(command, "a mesh of more than %d ranks needs processes: mpirun, srun, or --meet",
                 THREADS_MAX);
        return STATUS_USAGE;
    }
    if (place->mesh)
        return run_threads(&r, places);
    r.result = session_open(&s, command, place->threads, place->device, place->autotune)
                   ? work(&s, options)
                   : STATUS_ERROR;
    session_close(&s);
    return r.result;
}
