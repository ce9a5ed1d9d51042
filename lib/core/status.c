/* SPDX-License-Identifier: MIT
 * Names of status codes, the library's version, texts of system errors. */
#include "core/context.h"

#include <stdio.h>
#include <string.h>

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)
#define STATUS_CASE(name)                                                                          \
    case name:                                                                                     \
        return #name

const char *mgen_status_name(mgen_status status)
{
    switch (status) {
        STATUS_CASE(MGEN_OK);
        STATUS_CASE(MGEN_E_INVALID);
        STATUS_CASE(MGEN_E_STATE);
        STATUS_CASE(MGEN_E_UNSUPPORTED);
        STATUS_CASE(MGEN_E_VERSION);
        STATUS_CASE(MGEN_E_NO_MEMORY);
        STATUS_CASE(MGEN_E_LIMIT);
        STATUS_CASE(MGEN_E_NOT_FOUND);
        STATUS_CASE(MGEN_E_IO);
        STATUS_CASE(MGEN_E_CORRUPT);
        STATUS_CASE(MGEN_E_NO_SPACE);
        STATUS_CASE(MGEN_E_DEVICE);
        STATUS_CASE(MGEN_E_DEVICE_LOST);
        STATUS_CASE(MGEN_E_NUMERIC);
        STATUS_CASE(MGEN_E_PEER_LOST);
        STATUS_CASE(MGEN_E_TIMEOUT);
        STATUS_CASE(MGEN_E_DESYNC);
        STATUS_CASE(MGEN_E_CANCELLED);
        STATUS_CASE(MGEN_E_AGAIN);
        STATUS_CASE(MGEN_E_INTERNAL);
    default:
        return "unknown status";
    }
}

int32_t mgen_status_class(mgen_status status)
{
    switch (status) {
    case MGEN_OK:
        return MGEN_CLASS_OK;
    case MGEN_E_INVALID:
    case MGEN_E_STATE:
    case MGEN_E_UNSUPPORTED:
    case MGEN_E_VERSION:
        return MGEN_CLASS_UNCHANGED;
    case MGEN_E_DEVICE_LOST:
    case MGEN_E_PEER_LOST:
    case MGEN_E_DESYNC:
        return MGEN_CLASS_DEAD;
    default:
        return MGEN_CLASS_FAILED;
    }
}

const char *mgen_version(void)
{
    return TEXT(MGEN_VERSION_MAJOR) "." TEXT(MGEN_VERSION_MINOR) "." TEXT(MGEN_VERSION_PATCH);
}

const char *mgi_errno_text(int error, char *buffer, size_t size)
{
#if defined(__GLIBC__)
    return strerror_r(error, buffer, size); /* GNU form: returns the text, not always in buffer */
#else
    if (strerror_r(error, buffer, size) != 0)
        snprintf(buffer, size, "error %d", error);
    return buffer;
#endif
}
