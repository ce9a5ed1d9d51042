/* SPDX-License-Identifier: MIT
 * Threads of a test, all at once, to their ends. */
#ifndef TESTS_UNIT_RUN_THREADS_H
#define TESTS_UNIT_RUN_THREADS_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Each has one of the `count` structs, of `size` bytes. */
static inline void run_threads(void *(*body)(void *), void *structs, size_t size, int count)
{
    pthread_t threads[16];
    assert_in_range(count, 1, sizeof threads / sizeof threads[0]);
    for (int i = 0; i < count; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, body, (char *)structs + (size_t)i * size), 0);
    for (int i = 0; i < count; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

#endif
