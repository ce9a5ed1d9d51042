/* SPDX-License-Identifier: MIT
 * Tables that the program moviegen reads: votes, prompts and keys. Records that were read are read again when they are
 * written. */
#include "fuzz.h"

#include "../../examples/cli/csv.h"

#include <stdarg.h>
#include <string.h>

static int complaints;

void complain(const cli_command *command, const char *format, ...)
{
    char text[1024];
    va_list args;
    (void)command;
    va_start(args, format);
    FUZZ_CHECK(vsnprintf(text, sizeof text, format, args) > 0);
    va_end(args);
    complaints++;
}

/* The record that was read, and the line behind it. */
static void write_record(const csv_reader *r, FILE *f)
{
    for (size_t i = 0; i < r->count; i++) {
        if (i)
            fputc(',', f);
        csv_write(f, r->fields[i]);
    }
    fputc('\n', f);
}

static void check_again(const char *path, const char *text, size_t size, size_t records)
{
    csv_reader r;
    char *again = NULL;
    size_t length = 0, n = 0;
    FILE *f = open_memstream(&again, &length);
    fuzz_write(path, (const uint8_t *)text, size);
    FUZZ_CHECK(f && fputc('\n', f) == '\n' && csv_open(&r, NULL, path));
    for (; csv_next(&r) > 0; n++)
        write_record(&r, f);
    csv_close(&r);
    FUZZ_CHECK(fclose(f) == 0 && n == records && length == size && !memcmp(again, text, size));
    free(again);
}

static bool read_table(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    csv_reader r;
    char *text = NULL;
    size_t length = 0, records = 0;
    unsigned long line = 0;
    (void)ctx;
    (void)data;
    FILE *f = open_memstream(&text, &length);
    FUZZ_CHECK(f && fputc('\n', f) == '\n'); /* a first byte may look like a mark of UTF-8 */
    complaints = 0;
    int more = csv_open(&r, NULL, path) ? csv_next(&r) : -1;
    for (; more > 0; more = csv_next(&r)) {
        FUZZ_CHECK(r.count >= 1 && r.line > line && r.line <= size + 1);
        FUZZ_CHECK(csv_column(&r, r.fields[r.count - 1]) >= 0);
        line = r.line;
        write_record(&r, f);
        records++;
    }
    csv_close(&r);
    FUZZ_CHECK(fclose(f) == 0 && (more == 0 || more == -1) && complaints == (more < 0));
    check_again(path, text, length, records);
    free(text);
    return more == 0;
}

static const fuzz_seed tables[] = {
    {.text = "rater,item,axis,vote,comparison\r\nann,p1,quality,left,c1\r\n\r\nbob,p1,"
             "\"text, alignment\",tie,c1\r\n"},
    {.text = "\xef\xbb\xbfprompt,tags\n\"a \"\"red\"\"\nball\",\"motion, x\"\n , \n\"\",\n"}};

const fuzz_target fuzz_csv = {
    .name = "csv", .size_max = 4096, .ending = ".csv", FUZZ_SEEDS(tables), .read = read_table};
