/* SPDX-License-Identifier: MIT
 * One target, FUZZ_TARGET, as libFuzzer calls it. */
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    fuzz_make_folder();
    return atexit(fuzz_remove_folder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input(&FUZZ_TARGET, data, size);
    return 0;
}
