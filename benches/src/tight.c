/* What must be done at the least for each step, in tight loops: the peers of P9. They check nothing that
 * the library checks: names twice, limits, hostile lengths. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text {
    const unsigned char *bytes;
    size_t length;
};

struct pair {
    struct text name, value;
};

static unsigned char *put_header(unsigned char *out, unsigned type, size_t length)
{
    const unsigned char header[8] = {1, type, 0, 0, length >> 8, length & 0xFF, 0, 0};
    memcpy(out, header, sizeof header);
    return out + sizeof header;
}

static unsigned char *put_length(unsigned char *out, size_t length)
{
    if (length < 128) {
        *out++ = length;
        return out;
    }
    *out++ = length >> 24 | 0x80;
    *out++ = length >> 16;
    *out++ = length >> 8;
    *out++ = length;
    return out;
}

static unsigned char *put(unsigned char *out, struct text text)
{
    memcpy(out, text.bytes, text.length);
    return out + text.length;
}

/* Encodes params as one record and the empty one; returns how many bytes. */
size_t tight_encode(const struct pair *pairs, size_t count, unsigned char *out)
{
    unsigned char *at = out + 8;
    for (size_t i = 0; i < count; i++) {
        at = put_length(at, pairs[i].name.length);
        at = put_length(at, pairs[i].value.length);
        at = put(at, pairs[i].name);
        at = put(at, pairs[i].value);
    }
    put_header(out, 4, at - out - 8);
    return put_header(at, 4, 0) - out;
}

/* Encodes header fields as HTTP_ params. */
size_t tight_headers(const struct pair *pairs, size_t count, unsigned char *out)
{
    unsigned char *at = out + 8;
    for (size_t i = 0; i < count; i++) {
        at = put_length(at, pairs[i].name.length + 5);
        at = put_length(at, pairs[i].value.length);
        memcpy(at, "HTTP_", 5);
        at += 5;
        for (size_t j = 0; j < pairs[i].name.length; j++) {
            unsigned char c = pairs[i].name.bytes[j];
            *at++ = c == '-' ? '_' : c >= 'a' && c <= 'z' ? c - 32 : c;
        }
        at = put(at, pairs[i].value);
    }
    put_header(out, 4, at - out - 8);
    return put_header(at, 4, 0) - out;
}

/* Walks over records; returns the bytes of their content. */
size_t tight_parse(const unsigned char *in, size_t length)
{
    size_t content = 0;
    for (const unsigned char *at = in; at + 8 <= in + length;) {
        size_t own = (size_t)at[4] << 8 | at[5];
        content += at[1] == 6 && ((unsigned)at[2] << 8 | at[3]) == 1 ? own : 0;
        at += 8 + own + at[6];
    }
    return content;
}
