/* SPDX-License-Identifier: MIT
 * Threads of the library. Nothing else starts any: tests/arch looks. */
#ifndef MGI_CORE_THREAD_H
#define MGI_CORE_THREAD_H

#include <pthread.h>

/* Which takes none of the host's signals, and has room for all that the library does: by itself a thread has 128 KB with musl, or
 * what the host's `ulimit -s` says. 0, or an error number. */
int mgi_thread_start(pthread_t *thread, void *(*run)(void *), void *arg);

#endif
