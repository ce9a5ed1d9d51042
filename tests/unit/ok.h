/* SPDX-License-Identifier: MIT
 * OK(call): it must succeed; if not, `ctx` says why. */
#ifndef OK_H
#define OK_H

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != MGEN_OK)                                                                     \
            fail_msg("%s", mgen_last_error(ctx));                                                  \
    } while (0)

#endif
