/* SPDX-License-Identifier: MIT
 * Files of a model folder that break one rule each: the status that they are refused with, and what the message says.
 * Whatever they promise, no more memory is asked for than the bytes that are there are worth. */
#include "core/alloc.h"
#include "model/model_file.h"
#include "task/pipeline.h"
#include "text/byte_tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "networks.h"

#include "folder_context.h"

#define VALID "{\"format\":\"moviegen-model\",\"version\":1,"
#define TAE   "{\"channels\":[4],\"latent_channels\":2,\"blocks\":1,\"temporal\":false}"
#define VT(dim, patch, more)                                                                       \
    "{\"layers\":1,\"dim\":" dim ",\"heads\":2,\"ff_dim\":8,\"channels\":2,\"patch\":" patch       \
    ",\"frames_max\":2,\"rows_max\":2,\"columns_max\":2,\"text_dim\":8" more "}"
#define T5(vocab, more)                                                                            \
    "{\"vocab\":" vocab ",\"dim\":8,\"layers\":1,\"heads\":1,\"head_dim\":8,\"ff_dim\":8,"         \
    "\"tokens_max\":16" more "}"
#define CLIP(heads, more)                                                                          \
    "{\"vocab\":600,\"dim\":8,\"layers\":1,\"heads\":" heads                                       \
    ",\"ff_dim\":8,\"tokens_max\":16" more "}"

static void put_bytes(const char *name, const void *data, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static void put_text(const char *name, const char *text)
{
    put_bytes(name, text, strlen(text));
}

/* Weights of one tensor that no network has. */
static void put_weights(const char *name)
{
    static const char header[] =
        "{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}   ";
    uint8_t file[8 + sizeof header + 3] = {sizeof header - 1};
    memcpy(file + 8, header, sizeof header - 1);
    put_bytes(name, file, 8 + sizeof header - 1 + 4);
}

static mgen_status open_tae(const char *name)
{
    mgi_tae tae;
    uint64_t hash;
    mgen_status status = mgi_tae_open(ctx, folder, name, &tae, &hash);
    if (status == MGEN_OK)
        mgi_tae_finish(&tae);
    return status;
}

static mgen_status open_video(const char *name)
{
    mgi_vt vt;
    uint64_t hash;
    mgen_status status = mgi_vt_open(ctx, folder, name, &vt, &hash);
    if (status == MGEN_OK)
        mgi_vt_finish(&vt);
    return status;
}

static mgen_status open_text(const char *name)
{
    mgi_text_encoder text;
    uint64_t hash;
    mgen_status status = mgi_text_encoder_open(ctx, folder, name, &text, &hash);
    if (status == MGEN_OK)
        mgi_text_encoder_finish(&text);
    return status;
}

static mgen_status open_upsampler(const char *name)
{
    mgi_upsampler upsampler;
    uint64_t hash;
    mgen_status status = mgi_upsampler_open(ctx, folder, name, &upsampler, &hash);
    if (status == MGEN_OK)
        mgi_upsampler_finish(&upsampler);
    return status;
}

static mgen_status open_editor(const char *name)
{
    mgi_editor editor;
    uint64_t hash;
    mgen_status status = mgi_editor_open(ctx, folder, name, &editor, &hash);
    if (status == MGEN_OK)
        mgi_editor_finish(&editor);
    return status;
}

static mgen_status open_pipeline(const char *name)
{
    mgi_pipeline_file p;
    return mgi_pipeline_file_read(ctx, folder, name, &p);
}

typedef mgen_status opener(const char *name);

/* Refused, without a block that is kept and with few in between. */
static void refuse(opener *open, const char *name, mgen_status status, const char *said)
{
    mgi_device_trim(ctx->device);
    uint64_t before = ctx->heap->now;
    ctx->heap->peak = before;
    mgen_status got = open(name);
    if (got != status || !strstr(ctx->error_text, said) || !strstr(ctx->error_text, name))
        fail_msg("%s '%s', wanted %s '%s' of '%s'", mgen_status_name(got), ctx->error_text,
                 mgen_status_name(status), said, name);
    if (ctx->heap->peak - before > 2 << 20)
        fail_msg("%s: %llu bytes", said, (unsigned long long)(ctx->heap->peak - before));
    mgi_device_trim(ctx->device);
    assert_int_equal(ctx->heap->now, before);
}

typedef struct bad {
    opener *open;
    const char *text; /* of the file's JSON */
    mgen_status status;
    const char *said;
} bad;

static void refuse_all(const bad *list, size_t count)
{
    put_weights("m.safetensors");
    for (size_t i = 0; i < count; i++) {
        put_text("m.json", list[i].text);
        refuse(list[i].open, "m", list[i].status, list[i].said);
    }
}

#define REFUSE_ALL(list) refuse_all(list, sizeof(list) / sizeof((list)[0]))

/* What every network's file says of itself. */
static void test_model_root(void **state)
{
    static const bad list[] = {
        {open_tae, "", MGEN_E_CORRUPT, "m.json: line 1, column 1"},
        {open_tae, "\xEF\xBB\xBF{}", MGEN_E_CORRUPT, "column 1"},
        {open_tae, "[]", MGEN_E_CORRUPT, "m.json: is not a JSON object"},
        {open_tae, "{}", MGEN_E_CORRUPT, "\"format\" is missing"},
        {open_tae, "{\"format\":1}", MGEN_E_CORRUPT, "\"format\" is 1"},
        {open_tae, "{\"format\":\"onnx\"}", MGEN_E_CORRUPT,
         "\"format\" is \"onnx\", not \"moviegen-model\""},
        {open_tae, "{\"format\":\"moviegen-model\"}", MGEN_E_CORRUPT, "\"version\" is missing"},
        {open_tae, "{\"format\":\"moviegen-model\",\"version\":0}", MGEN_E_CORRUPT,
         "\"version\" is 0"},
        {open_tae, "{\"format\":\"moviegen-model\",\"version\":1.0}", MGEN_E_CORRUPT,
         "\"version\" is 1"},
        {open_tae, "{\"format\":\"moviegen-model\",\"version\":2}", MGEN_E_VERSION,
         "\"version\" is 2"},
        {open_tae, VALID "\"kind\":\"video-transformer\",\"config\":{}}", MGEN_E_CORRUPT,
         "\"kind\" is \"video-transformer\", not \"tae\""},
        {open_tae, VALID "\"kind\":\"tae\"}", MGEN_E_CORRUPT, "\"config\" must be an object"},
        {open_tae, VALID "\"kind\":\"tae\",\"config\":[]}", MGEN_E_CORRUPT,
         "\"config\" must be an object"},
        {open_tae, VALID "\"kind\":\"tae\",\"config\":" TAE ",\"x\":1}", MGEN_E_CORRUPT,
         "unknown key \"x\""},
        {open_tae, VALID "\"kind\":\"tae\",\"kind\":\"tae\",\"config\":" TAE "}", MGEN_E_CORRUPT,
         "twice the key 'kind'"},
        {open_text, VALID "\"kind\":\"t5\",\"config\":{}}", MGEN_E_CORRUPT,
         "\"kind\" is \"t5\"; text encoders are"},
    };
    char name[MGI_NAME_MAX + 1];
    (void)state;
    REFUSE_ALL(list);
    memset(name, 'n', sizeof name);
    name[MGI_NAME_MAX - 15] = '\0';
    assert_int_equal(open_tae(name), MGEN_E_CORRUPT);
    assert_non_null(strstr(ctx->error_text, "name is longer than"));
}

#define TAE_OF(config)      VALID "\"kind\":\"tae\",\"config\":" config "}"
#define VT_OF(config)       VALID "\"kind\":\"video-transformer\",\"config\":" config "}"
#define T5_OF(kind, config) VALID "\"kind\":\"t5-" kind "\",\"config\":" config "}"
#define CLIP_OF(config)     VALID "\"kind\":\"clip-bpe\",\"config\":" config "}"

static void test_configs(void **state)
{
    static const bad list[] = {
        {open_tae, TAE_OF("{}"), MGEN_E_CORRUPT, "\"channels\" must be a list of 1 to 6"},
        {open_tae, TAE_OF("{\"channels\":[1,1,1,1,1,1,1]}"), MGEN_E_CORRUPT, "\"channels\" must"},
        {open_tae, TAE_OF("{\"channels\":[0]}"), MGEN_E_CORRUPT, "\"channels\" has an entry"},
        {open_tae, TAE_OF("{\"channels\":[4],\"latent_channels\":1e3}"), MGEN_E_CORRUPT,
         "\"latent_channels\" is 1000"},
        {open_tae, TAE_OF("{\"channels\":[4],\"latent_channels\":2,\"blocks\":9}"), MGEN_E_CORRUPT,
         "\"blocks\" is 9"},
        {open_video, VT_OF("{}"), MGEN_E_CORRUPT, "\"layers\" is missing"},
        {open_video, VT_OF(VT("8", "[1,2]", "")), MGEN_E_CORRUPT, "\"patch\" must be a list of 3"},
        {open_video, VT_OF(VT("8", "{\"a\":1,\"b\":1,\"c\":1}", "")), MGEN_E_CORRUPT,
         "\"patch\" must be a list of 3"},
        {open_video, VT_OF(VT("8", "[1,2,65]", "")), MGEN_E_CORRUPT, "not 1..64"},
        {open_video, VT_OF(VT("8", "[1,2,0.5]", "")), MGEN_E_CORRUPT, "not 1..64"},
        {open_video, VT_OF(VT("7", "[1,2,2]", "")), MGEN_E_CORRUPT, "\"dim\" (7)"},
        {open_video, VT_OF(VT("1024", "[1,2,2]", "")), MGEN_E_CORRUPT, "at most 256 times"},
        {open_video, VT_OF(VT("8", "[1,2,2]", ",\"time_dim\":3")), MGEN_E_CORRUPT, "even"},
        {open_video, VT_OF(VT("8", "[1,2,2]", ",\"activation\":\"silu\"")), MGEN_E_CORRUPT,
         "needs \"block\""},
        {open_video, VT_OF(VT("8", "[1,2,2]", ",\"condition_channels\":-1")), MGEN_E_CORRUPT,
         "\"condition_channels\" is -1"},
        {open_video, VT_OF(VT("8", "[1,2,2]", ",\"tasks\":-1")), MGEN_E_CORRUPT, "\"tasks\" is -1"},
        {open_video, VT_OF(VT("8", "[1,2,2]", ",\"tasks\":4097")), MGEN_E_CORRUPT,
         "\"tasks\" is 4097"},
        {open_video, VT_OF(VT("8", "[1,2,2]", ",\"tasks\":2,\"task_dim\":0")), MGEN_E_CORRUPT,
         "\"task_dim\" is 0"},
        {open_video, VT_OF(VT("8", "[1,2,2]", ",\"task_dim\":6")), MGEN_E_CORRUPT,
         "\"task_dim\" needs \"tasks\""},
        {open_video, VT_OF(VT("8", "[1,2,2]", ",\"objective\":\"edm\"")), MGEN_E_CORRUPT,
         "known are \"flow\" and \"v_prediction\""},
        {open_text, T5_OF("bytes", T5("3", "")), MGEN_E_CORRUPT, "\"vocab\" is 3"},
        {open_text, T5_OF("bytes", T5("259", ",\"buckets\":6")), MGEN_E_CORRUPT,
         "\"buckets\" (6) must be a multiple of 4"},
        {open_text, T5_OF("bytes", T5("259", ",\"buckets\":32,\"max_distance\":8")), MGEN_E_CORRUPT,
         "\"max_distance\" (8) more than that share"},
        {open_text, T5_OF("bytes", T5("258", "")), MGEN_E_CORRUPT, "the tokenizer needs 259"},
        {open_text, T5_OF("bytes", T5("259", ",\"tokenizer\":\"a\"")), MGEN_E_CORRUPT,
         "not for bytes"},
        {open_text, T5_OF("sentencepiece", T5("259", "")), MGEN_E_CORRUPT,
         "\"tokenizer\" is missing"},
        {open_text, T5_OF("sentencepiece", T5("259", ",\"tokenizer\":\"../sp.model\"")),
         MGEN_E_CORRUPT, "which is no file's name"},
        {open_text, T5_OF("sentencepiece", T5("259", ",\"tokenizer\":\"sp.model\"")),
         MGEN_E_NOT_FOUND, "sp.model"},
        {open_text, CLIP_OF(CLIP("3", "")), MGEN_E_CORRUPT, "\"heads\" (3) does not divide"},
        {open_text, CLIP_OF(CLIP("2", ",\"activation\":\"relu\"")), MGEN_E_CORRUPT, "\"relu\""},
        {open_text, CLIP_OF(CLIP("2", ",\"scale\":101")), MGEN_E_CORRUPT, "\"scale\" is 101"},
        {open_text, CLIP_OF(CLIP("2", ",\"tokenizer\":\"vocab.json\"")), MGEN_E_CORRUPT,
         "an object of file names"},
        {open_text, CLIP_OF(CLIP("2", ",\"tokenizer\":{\"vocab\":\"v\",\"merge\":\"m\"}")),
         MGEN_E_CORRUPT, "unknown key \"merge\""},
    };
    (void)state;
    REFUSE_ALL(list);
}

#define UPSAMPLER_OF(members, video)                                                               \
    VALID "\"kind\":\"upsampler\",\"config\":{" members "\"transformer\":" video "}}"
#define SEEING(patch, channels) VT("8", patch, ",\"condition_channels\":" channels)
#define UPSAMPLER(members)      UPSAMPLER_OF("\"tae\":\"t\"," members, SEEING("[1,2,2]", "2"))
#define WINDOW                  "\"tae\":\"t\",\"frames\":2,\"overlap\":1,"

/* Each rule of an upsampler; its transformer has two channels, and two frames at most. */
static void test_upsamplers(void **state)
{
    static const bad list[] = {
        {open_upsampler, VT_OF(SEEING("[1,2,2]", "2")), MGEN_E_CORRUPT,
         "\"kind\" is \"video-transformer\", not \"upsampler\""},
        {open_video, UPSAMPLER(""), MGEN_E_CORRUPT, "\"kind\" is \"upsampler\", not"},
        {open_upsampler, UPSAMPLER_OF("", SEEING("[1,2,2]", "2")), MGEN_E_CORRUPT,
         "m.json: the key \"tae\" is missing"},
        {open_upsampler, UPSAMPLER_OF("\"tae\":7,", "{}"), MGEN_E_CORRUPT, "\"tae\" is 7"},
        {open_upsampler, UPSAMPLER_OF("\"tae\":\"../t\",", "{}"), MGEN_E_CORRUPT,
         "\"tae\" is \"../t\"; it must name a model of the same folder"},
        {open_upsampler, UPSAMPLER_OF("\"tae\":\"\",", "{}"), MGEN_E_CORRUPT,
         "\"tae\" is \"\"; it must name"},
        {open_upsampler, UPSAMPLER("\"windows\":2,"), MGEN_E_CORRUPT, "unknown key \"windows\""},
        {open_upsampler, UPSAMPLER("\"factor\":0,"), MGEN_E_CORRUPT, "\"factor\" is 0"},
        {open_upsampler, UPSAMPLER("\"factor\":65,"), MGEN_E_CORRUPT, "\"factor\" is 65"},
        {open_upsampler, UPSAMPLER("\"factor\":1.5,"), MGEN_E_CORRUPT, "\"factor\" is 1.5"},
        {open_upsampler, UPSAMPLER("\"frames\":0,"), MGEN_E_CORRUPT, "\"frames\" is 0"},
        {open_upsampler, UPSAMPLER("\"frames\":4097,"), MGEN_E_CORRUPT, "\"frames\" is 4097"},
        {open_upsampler, UPSAMPLER("\"overlap\":-1,"), MGEN_E_CORRUPT, "\"overlap\" is -1"},
        {open_upsampler, UPSAMPLER("\"steps\":0,"), MGEN_E_CORRUPT, "\"steps\" is 0"},
        {open_upsampler, UPSAMPLER("\"steps\":1001,"), MGEN_E_CORRUPT, "\"steps\" is 1001"},
        {open_upsampler, UPSAMPLER("\"frames\":2,\"overlap\":2,"), MGEN_E_CORRUPT,
         "\"overlap\" is 2, more than half of a window's \"frames\" (2)"},
        {open_upsampler, VALID "\"kind\":\"upsampler\",\"config\":{\"tae\":\"t\"}}", MGEN_E_CORRUPT,
         "\"transformer\" must be an object"},
        {open_upsampler, UPSAMPLER_OF(WINDOW, "[]"), MGEN_E_CORRUPT,
         "\"transformer\" must be an object"},
        {open_upsampler, UPSAMPLER_OF(WINDOW, VT("7", "[1,2,2]", "")), MGEN_E_CORRUPT,
         "m.json: \"transformer\": \"dim\" (7)"},
        {open_upsampler, UPSAMPLER_OF(WINDOW, VT("8", "[1,2,2]", "")), MGEN_E_CORRUPT,
         "sees as many channels as it makes: \"condition_channels\" is 0 and \"channels\" 2"},
        {open_upsampler, UPSAMPLER_OF(WINDOW, SEEING("[1,2,2]", "3")), MGEN_E_CORRUPT,
         "\"condition_channels\" is 3 and \"channels\" 2"},
        {open_upsampler, UPSAMPLER(""), MGEN_E_CORRUPT,
         "windows of 14 \"frames\", 4 of them shared, do not fit a transformer of 2 x 1 frames"},
        {open_upsampler, UPSAMPLER("\"frames\":3,\"overlap\":0,"), MGEN_E_CORRUPT,
         "windows of 3 \"frames\""},
        {open_upsampler,
         UPSAMPLER_OF("\"tae\":\"t\",\"frames\":3,\"overlap\":0,", SEEING("[2,2,2]", "2")),
         MGEN_E_CORRUPT, "windows of 3 \"frames\", 0 of them shared, do not fit"},
        {open_upsampler,
         UPSAMPLER_OF("\"tae\":\"t\",\"frames\":4,\"overlap\":1,", SEEING("[2,2,2]", "2")),
         MGEN_E_CORRUPT, "windows of 4 \"frames\", 1 of them shared, do not fit"},
        /* and one that is whole, whose weights are none of it */
        {open_upsampler, UPSAMPLER_OF(WINDOW, SEEING("[1,2,2]", "2")), MGEN_E_CORRUPT,
         "m.safetensors: tensor \"patch.weight\" is missing"},
    };
    char text[1024], name[MGI_NAME_MAX + 1];
    (void)state;
    REFUSE_ALL(list);
    memset(name, 'n', sizeof name);
    name[MGI_NAME_MAX - 15] = '\0';
    snprintf(text, sizeof text,
             VALID "\"kind\":\"upsampler\",\"config\":{\"tae\":\"%s\",\"transformer\":{}}}", name);
    put_text("m.json", text);
    refuse(open_upsampler, "m", MGEN_E_CORRUPT, "it must name a model of the same folder");
}

#define EDITOR_OF(members, video)                                                                  \
    VALID "\"kind\":\"editor\",\"config\":{" members "\"transformer\":" video "}}"
#define TOLD(tasks)     VT("8", "[1,2,2]", ",\"condition_channels\":2,\"task_dim\":3,\"tasks\":" tasks)
#define EDITOR(members) EDITOR_OF(members, TOLD("8"))

/* Each rule of an editor; its transformer has two channels. */
static void test_editors(void **state)
{
    static const bad list[] = {
        {open_editor, UPSAMPLER_OF(WINDOW, SEEING("[1,2,2]", "2")), MGEN_E_CORRUPT,
         "\"kind\" is \"upsampler\", not \"editor\""},
        {open_video, EDITOR(""), MGEN_E_CORRUPT, "\"kind\" is \"editor\", not"},
        {open_editor, EDITOR("\"tae\":\"t\","), MGEN_E_CORRUPT, "unknown key \"tae\""},
        {open_editor, EDITOR("\"steps\":0,"), MGEN_E_CORRUPT, "\"steps\" is 0"},
        {open_editor, EDITOR("\"steps\":1001,"), MGEN_E_CORRUPT, "\"steps\" is 1001"},
        {open_editor, EDITOR("\"source_guidance\":0,"), MGEN_E_CORRUPT, "\"source_guidance\" is 0"},
        {open_editor, EDITOR("\"source_guidance\":101,"), MGEN_E_CORRUPT,
         "\"source_guidance\" is 101"},
        {open_editor, EDITOR("\"source_guidance\":\"1\","), MGEN_E_CORRUPT,
         "\"source_guidance\" is "},
        {open_editor, VALID "\"kind\":\"editor\",\"config\":{}}", MGEN_E_CORRUPT,
         "\"transformer\" must be an object"},
        {open_editor, EDITOR_OF("", "7"), MGEN_E_CORRUPT, "\"transformer\" must be an object"},
        {open_editor, EDITOR_OF("", VT("7", "[1,2,2]", "")), MGEN_E_CORRUPT,
         "m.json: \"transformer\": \"dim\" (7)"},
        {open_editor, EDITOR_OF("", VT("8", "[1,2,2]", ",\"tasks\":8")), MGEN_E_CORRUPT,
         "sees as many channels as it makes: \"condition_channels\" is 0 and \"channels\" 2"},
        {open_editor, EDITOR_OF("", SEEING("[1,2,2]", "2")), MGEN_E_CORRUPT,
         "an editor has 8 \"tasks\", not 0"},
        {open_editor, EDITOR_OF("", TOLD("7")), MGEN_E_CORRUPT, "an editor has 8 \"tasks\", not 7"},
        /* and one that is whole, whose weights are none of it */
        {open_editor, EDITOR("\"steps\":7,\"source_guidance\":1.25,"), MGEN_E_CORRUPT,
         "m.safetensors: tensor \"patch.weight\" is missing"},
    };
    (void)state;
    REFUSE_ALL(list);
}

/* A tokenizer's file that is too large, and one that is fine but has no end of a text. */
static void test_tokenizer(void **state)
{
    static const char model[] = "\x0a\x05\x0a\x01?\x18\x02" /* the unknown piece */
                                "\x0a\x08\x0a\x01"
                                "a\x15\x00\x00\x80\xbf";
    char path[64];
    (void)state;
    put_weights("m.safetensors");
    put_text("m.json", T5_OF("sentencepiece", T5("259", ",\"tokenizer\":\"sp.model\"")));
    put_bytes("sp.model", model, sizeof model - 1);
    refuse(open_text, "m", MGEN_E_CORRUPT, "sp.model: has no piece for the end of a text");
    snprintf(path, sizeof path, "%s/sp.model", folder);
    assert_int_equal(truncate(path, (off_t)MGI_SP_FILE_MAX + 1), 0);
    refuse(open_text, "m", MGEN_E_CORRUPT, "sp.model: is larger than 67108864 bytes");
    put_text("m.json", CLIP_OF(CLIP("2", ",\"tokenizer\":{\"vocab\":\"sp.model\","
                                         "\"merges\":\"sp.model\"}")));
    refuse(open_text, "m", MGEN_E_CORRUPT, "sp.model: is larger than 67108864 bytes");
}

/* Networks of up to 10^13 parameters, and a file that has one. */
static void test_promises(void **state)
{
    static const bad list[] = {
        {open_tae,
         TAE_OF("{\"channels\":[65536,65536,65536],\"latent_channels\":4096,\"blocks\":8}"),
         MGEN_E_CORRUPT, "m.safetensors: tensor \"encoder.in.weight\" is missing"},
        {open_video,
         VT_OF("{\"layers\":256,\"dim\":65536,\"heads\":1024,\"ff_dim\":1048576,\"channels\":4096,"
               "\"patch\":[64,64,64],\"frames_max\":65536,\"rows_max\":65536,"
               "\"columns_max\":65536,\"text_dim\":65536,\"time_dim\":65536}"),
         MGEN_E_CORRUPT, "m.safetensors: tensor \"patch.weight\" is missing"},
        {open_text,
         T5_OF("bytes", "{\"vocab\":1048576,\"dim\":65536,\"layers\":256,\"heads\":1024,"
                        "\"head_dim\":256,\"ff_dim\":1048576,\"tokens_max\":8192}"),
         MGEN_E_CORRUPT, "m.safetensors: tensor \""},
    };
    (void)state;
    REFUSE_ALL(list);
}

/* Weights of a network: one tensor of another shape, one too many. */
static void test_weights(void **state)
{
    const mgi_tae_config config = {
        .levels = 1, .channels = {4}, .latent_channels = 2, .blocks = 1, .temporal = false};
    mgi_tae tae;
    mgi_st_file st;
    mgi_st_source list[64];
    float zeros[1024] = {0};
    (void)state;
    put_text("m.json", TAE_OF(TAE));
    assert_int_equal(mgi_tae_init(&tae, ctx, &config), MGEN_OK);
    int64_t n = tae.module.count;
    assert_true(n > 4 && n < 63);
    for (int64_t k = 0; k < n; k++) {
        const mgi_param *p = tae.module.params[k];
        list[k] = (mgi_st_source){.name = p->name, .rank = p->rank, .data = zeros};
        memcpy(list[k].dims, p->dims, sizeof *p->dims * (size_t)p->rank);
        assert_true(p->value->count <= 1024);
    }
    char path[64];
    snprintf(path, sizeof path, "%s/m.safetensors", folder);
    assert_int_equal(mgi_st_write(ctx, path, list, n, NULL, 0), MGEN_OK);
    assert_int_equal(open_tae("m"), MGEN_OK);
    list[n] = (mgi_st_source){.name = "more", .rank = 1, .dims = {1}, .data = zeros};
    assert_int_equal(mgi_st_write(ctx, path, list, n + 1, NULL, 0), MGEN_OK);
    refuse(open_tae, "m", MGEN_E_CORRUPT, "but its configuration names only");
    list[1].dims[0]++;
    assert_int_equal(mgi_st_write(ctx, path, list, n, NULL, 0), MGEN_OK);
    refuse(open_tae, "m", MGEN_E_CORRUPT, "has another shape than its configuration asks for");
    list[1].rank++;
    list[1].dims[0]--;
    list[1].dims[list[1].rank - 1] = 1;
    assert_int_equal(mgi_st_write(ctx, path, list, n, NULL, 0), MGEN_OK);
    refuse(open_tae, "m", MGEN_E_CORRUPT, "has another shape than its configuration asks for");
    /* where a network is not read from a file alone, loading sees it */
    assert_int_equal(mgi_st_open(ctx, folder, "m.safetensors", &st), MGEN_OK);
    assert_int_equal(mgi_module_load(&tae.module, &st, "m", true), MGEN_E_CORRUPT);
    assert_non_null(strstr(ctx->error_text, "another shape"));
    mgi_st_close(ctx, &st);
    mgi_tae_finish(&tae);
}

#define PIPE(more) "{\"format\":\"moviegen-pipeline\",\"version\":1," more "}"
#define SIZES      "\"width\":64,\"height\":64,\"frames\":32,\"fps\":8"

static void test_pipeline(void **state)
{
    static const bad list[] = {
        {open_pipeline, "7", MGEN_E_CORRUPT, "m.json: is not a JSON object"},
        {open_pipeline, "{\"format\":\"moviegen-model\",\"version\":1}", MGEN_E_CORRUPT,
         "not \"moviegen-pipeline\""},
        {open_pipeline, "{\"format\":\"moviegen-pipeline\",\"version\":2}", MGEN_E_VERSION,
         "\"version\" is 2"},
        {open_pipeline, PIPE("\"music\":\"a\""), MGEN_E_CORRUPT, "unknown key \"music\""},
        {open_pipeline, PIPE("\"audio\":7"), MGEN_E_CORRUPT, "\"audio\" is 7"},
        {open_pipeline, PIPE("\"rewriter\":7"), MGEN_E_CORRUPT, "\"rewriter\" is 7"},
        {open_pipeline, PIPE("\"tae\":7"), MGEN_E_CORRUPT, "\"tae\" is 7"},
        {open_pipeline, PIPE("\"upsampler\":7"), MGEN_E_CORRUPT, "\"upsampler\" is 7"},
        {open_pipeline, PIPE("\"text\":\"a\""), MGEN_E_CORRUPT, "\"text\" must be an object"},
        {open_pipeline, PIPE("\"text\":{\"clip\":\"a\"}"), MGEN_E_CORRUPT, "unknown key \"clip\""},
        {open_pipeline, PIPE("\"video\":\"v\",\"video\":\"w\""), MGEN_E_CORRUPT, "twice the key"},
        {open_pipeline, PIPE("\"tae\":\"t\""), MGEN_E_CORRUPT, "\"width\" is missing"},
        {open_pipeline, PIPE("\"width\":7," SIZES), MGEN_E_CORRUPT, "twice the key 'width'"},
        {open_pipeline, PIPE("\"width\":16385"), MGEN_E_CORRUPT, "\"width\" is 16385"},
        {open_pipeline, PIPE("\"width\":-64"), MGEN_E_CORRUPT, "\"width\" is -64"},
        {open_pipeline, PIPE("\"width\":9223372036854775808"), MGEN_E_CORRUPT,
         "not a whole number"},
        {open_pipeline, PIPE("\"width\":NaN"), MGEN_E_CORRUPT, "expected a value"},
        {open_pipeline, PIPE("\"width\":1e999"), MGEN_E_CORRUPT, "too large for a double"},
    };
    char text[512], name[MGI_NAME_MAX + 1];
    (void)state;
    REFUSE_ALL(list);
    memset(name, 'n', sizeof name);
    name[MGI_NAME_MAX - 15] = '\0';
    snprintf(text, sizeof text, PIPE("\"tae\":\"%s\"," SIZES), name);
    put_text("m.json", text);
    refuse(open_pipeline, "m", MGEN_E_CORRUPT, "\"tae\" names a model of more than");
    put_text("m.json", PIPE("\"tae\":\"t\",\"video\":\"v\"," SIZES));
    assert_int_equal(open_pipeline("m"), MGEN_OK);
}

/* Networks that are fine but do not fit each other. */
static void test_together(void **state)
{
    mgi_tae tae = {.config = {.levels = 4, .channels = {4, 4, 4, 4}, .latent_channels = 4}};
    mgi_vt vt = {.config = {.channels = 3,
                            .patch_t = 1,
                            .patch_h = 2,
                            .patch_w = 2,
                            .frames_max = 4,
                            .rows_max = 4,
                            .columns_max = 4}};
    mgi_networks n = {.tae = &tae, .video = &vt, .clip = {.width = 64, .height = 64, .frames = 4}};
    (void)state;
    assert_int_equal(mgi_networks_check(ctx, &n), MGEN_E_CORRUPT);
    assert_non_null(strstr(ctx->error_text, "4 latent channels, but the video model takes 3"));
    vt.config.channels = 4;
    assert_int_equal(mgi_networks_check(ctx, &n), MGEN_OK);
    vt.config.text[1] = 8;
    assert_int_equal(mgi_networks_check(ctx, &n), MGEN_E_CORRUPT);
    assert_non_null(strstr(ctx->error_text, "is 0 wide, but the video model takes 8"));
    vt.config.text[1] = 0;
    n.clip.width = 80;
    assert_int_equal(mgi_networks_check(ctx, &n), MGEN_E_CORRUPT);
    assert_non_null(strstr(ctx->error_text, "80 x 64 x 4 frames do not fit"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_root), cmocka_unit_test(test_configs),
        cmocka_unit_test(test_upsamplers), cmocka_unit_test(test_editors),
        cmocka_unit_test(test_tokenizer),  cmocka_unit_test(test_promises),
        cmocka_unit_test(test_weights),    cmocka_unit_test(test_pipeline),
        cmocka_unit_test(test_together),
    };
    return cmocka_run_group_tests_name("bad models", tests, make_folder_context,
                                       remove_folder_context);
}
