/* SPDX-License-Identifier: Apache-2.0 */
/* Request templates of the load client. Pure functions. */
#include "load_template.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_data(FILE *out, const load_values_t *values)
{
    static const char frame[] = "{\"seq\":\"00000000\",\"pad\":\"\"}";
    fprintf(out, "{\"seq\":\"%08u\",\"pad\":\"", values->seq);
    for (size_t n = sizeof(frame) - 1; n < values->data_size; n++)
        putc('x', out);
    fputs("\"}", out);
}

char *load_template_fill(const char *text, const load_values_t *values, size_t *out_len)
{
    char *filled = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&filled, &len);
    if (!out)
        err(1, "template");
    for (const char *p = text; *p; p++) {
        if (*p != '%' || !p[1]) {
            putc(*p, out);
            continue;
        }
        switch (*++p) {
        case 'u':
            fprintf(out, "%u", values->user);
            break;
        case 'z':
            fprintf(out, "%08u", values->user);
            break;
        case 'g':
            fprintf(out, "%u", values->groups ? values->user % values->groups : 0);
            break;
        case 's':
            put_data(out, values);
            break;
        case '%':
            putc('%', out);
            break;
        default:
            errx(1, "template: %%%c is not known", *p);
        }
    }
    if (fclose(out))
        err(1, "template");
    if (out_len)
        *out_len = len;
    return filled;
}

char *load_template_base64(const char *text, const load_values_t *values)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len, n = 0;
    char *plain = load_template_fill(text, values, &len);
    char *coded = malloc((len + 2) / 3 * 4 + 1);
    if (!coded)
        err(1, "base64");
    for (size_t i = 0; i < len; i += 3) {
        uint32_t bits = 0;
        for (size_t k = 0; k < 3; k++)
            bits = bits << 8 | (i + k < len ? (unsigned char)plain[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            coded[n++] = i + k > len ? '=' : digits[bits >> (18 - 6 * k) & 63];
    }
    coded[n] = 0;
    free(plain);
    return coded;
}
