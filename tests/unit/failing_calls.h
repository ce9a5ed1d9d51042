/* SPDX-License-Identifier: MIT
 * A call whose allocations fail, each in turn or, further on, every so many. */
#ifndef TESTS_UNIT_FAILING_CALLS_H
#define TESTS_UNIT_FAILING_CALLS_H

#include "failing_memory.h"
#include "tensor/device.h"

/* It says that there is no memory, and nothing stays, until it ends well. What `context` keeps for good is there after the
 * first time, in which nothing fails. `memory` is the context's failing one. */
#define ASSERT_NOTHING_STAYS(context, memory, call)                                                \
    do {                                                                                           \
        mgen_status status_ = MGEN_E_NO_MEMORY;                                                    \
        assert_int_equal(call, MGEN_OK);                                                           \
        mgi_device_trim((context)->device);                                                        \
        const int64_t before_ = (memory).blocks;                                                   \
        for (int k_ = 1; status_ != MGEN_OK; k_ += 1 + k_ / 8) {                                   \
            (memory).calls = 0;                                                                    \
            (memory).fail_at = k_;                                                                 \
            status_ = call;                                                                        \
            (memory).fail_at = 0;                                                                  \
            if (status_ != MGEN_OK)                                                                \
                assert_int_equal(status_, MGEN_E_NO_MEMORY);                                       \
            mgi_device_trim((context)->device);                                                    \
            assert_int_equal((memory).blocks, before_);                                            \
        }                                                                                          \
    } while (0)

#endif
