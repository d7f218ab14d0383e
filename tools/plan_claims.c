#include "tools/plan_claims.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tools/claims.h"
#include "tools/command.h"
#include "tools/published.h"

typedef struct {
    int of[CLAIM_VERDICTS], unexpected;
} tally_of_claims;

/* --- for people --- */

static const char *figure(char *text, size_t size, double low, double high) {
    if (isnan(low)) snprintf(text, size, "-");
    else if (!isnan(high) && high != 0) snprintf(text, size, "%.5g to %.5g", low, high);
    else snprintf(text, size, fabs(low) >= 1e5 && fabs(low) < 1e9 ? "%.0f" : "%.5g", low);
    return text;
}

static const char *relation(const claim *c) {
    return c->relation == CLAIM_AT_MOST ? "<= " : c->relation == CLAIM_AT_LEAST ? ">= " : "";
}

static void print_header(void) {
    printf("%-20s %14s %14s %14s  %-8s %s\n", "claim", "article", "its method", "ours", "unit", "verdict");
}

/* indented, in lines of at most 100 columns */
static void print_paragraph(const char *text) {
    int column = 0;
    while (*text) {
        int length = (int)strcspn(text, " ");
        bool fits = column && column + 1 + length <= 100;
        printf("%s%.*s", fits ? " " : column ? "\n    " : "    ", length, text);
        column = (fits ? column + 1 : 4) + length;
        text += length + (text[length] == ' ');
    }
    putchar('\n');
}

static void print_row(const claim *c, const claim_result *r) {
    char value[48], again[48], ours[48], article[64], text[1024];
    snprintf(article, sizeof article, "%s%s", relation(c), figure(value, sizeof value, c->value, c->high));
    printf("%-20s %14s %14s %14s  %-8s %s%s\n", c->id, article, figure(again, sizeof again, r->again, r->again_high),
           figure(ours, sizeof ours, r->ours, r->ours_high), c->unit, claims_verdict_name(r->verdict),
           claims_as_expected(c, r) ? "" : "  NOT AS EXPECTED");
    snprintf(text, sizeof text, "%s, %s: %s", c->system, c->claim, r->reason);
    print_paragraph(text);
}

static void print_inputs(const claim *c) {
    printf("    inputs: %s\n", c->inputs);
    if (*c->method) printf("    method: %s\n", c->method);
}

static void print_published_row(const published_row *p, const published_result *r) {
    printf("%-5s %6ld %5ld %-10s %-9s %-4s %8.0f %8.2f %8.2f %8.2f %8.2f %6.2f%%\n", p->model, p->seq_len, p->gpus,
           published_gpu_key(p->gpu), published_precision_name(p->precision), p->checkpointing ? "full" : "none",
           p->tokens_per_s, p->mfu_percent, r->mfu_percent, p->hfu_percent, r->hfu_percent, 100 * r->error);
}

/* --- for programs --- */

static status fill_claim(json_t *o, const claim *c, const claim_result *r) {
    TRY(json_add_string(o, "id", c->id));
    TRY(json_add_string(o, "system", c->system));
    TRY(json_add_string(o, "claim", c->claim));
    TRY(json_add_string(o, "unit", c->unit));
    TRY(json_add_string(o, "relation",
                        c->relation == CLAIM_AT_MOST    ? "at most"
                        : c->relation == CLAIM_AT_LEAST ? "at least"
                                                        : "equal"));
    TRY(json_add_double(o, "article", c->value));
    TRY(json_add_number_or_null(o, "article_high", c->high > 0 ? c->high : NAN));
    TRY(json_add_number_or_null(o, "its_method", r->again));
    TRY(json_add_number_or_null(o, "ours", r->ours));
    TRY(json_add_number_or_null(o, "ours_high", r->ours_high));
    TRY(json_add_double(o, "tolerance", c->tolerance));
    TRY(json_add_string(o, "inputs", c->inputs));
    TRY(json_add_string(o, "method", c->method));
    TRY(json_add_string(o, "verdict", claims_verdict_name(r->verdict)));
    TRY(json_add_bool(o, "as_expected", claims_as_expected(c, r)));
    return json_add_string(o, "reason", r->reason);
}

static status fill_published(json_t *o, const published_row *p, const published_result *r) {
    TRY(json_add_string(o, "model", p->model));
    TRY(json_add_i64(o, "seq_len", p->seq_len));
    TRY(json_add_i64(o, "gpus", p->gpus));
    TRY(json_add_string(o, "gpu", published_gpu_key(p->gpu)));
    TRY(json_add_string(o, "precision", published_precision_name(p->precision)));
    TRY(json_add_bool(o, "checkpointing", p->checkpointing));
    TRY(json_add_double(o, "tokens_per_s_per_gpu", p->tokens_per_s));
    TRY(json_add_double(o, "published_mfu_percent", p->mfu_percent));
    TRY(json_add_double(o, "mfu_percent", r->mfu_percent));
    TRY(json_add_double(o, "published_hfu_percent", p->hfu_percent));
    TRY(json_add_double(o, "hfu_percent", r->hfu_percent));
    return json_add_double(o, "error", r->error);
}

/* --- both: list is NULL to print text --- */

static status one_claim(json_t *list, const claim *c, tally_of_claims *t) {
    claim_result r;
    TRY(claims_compute(&r, c));
    t->of[r.verdict]++;
    t->unexpected += !claims_as_expected(c, &r);
    if (list) {
        json_t *item = json_append_object(list);
        if (!item) FAIL(MEM, "no memory for the claims");
        return fill_claim(item, c, &r);
    }
    print_row(c, &r);
    return STATUS_OK;
}

/* rows: whether to print each */
static status all_published(json_t *list, bool rows, int *wrong) {
    int count;
    const published_row *p = published_list(&count);
    double largest = 0;
    if (rows && !list)
        printf("%-5s %6s %5s %-10s %-9s %-4s %8s %8s %8s %8s %8s %7s\n", "model", "T", "GPUs", "GPU", "precision",
               "ckpt", "tok/s", "MFU", "ours", "HFU", "ours", "error");
    for (int i = 0; i < count; i++) {
        published_result r;
        TRY(published_compute(&r, &p[i]));
        largest = fmax(largest, r.error);
        *wrong += !(r.error <= PUBLISHED_TOLERANCE);
        if (rows && !list) print_published_row(&p[i], &r);
        if (list) {
            json_t *item = json_append_object(list);
            if (!item) FAIL(MEM, "no memory for the published rows");
            TRY(fill_published(item, &p[i], &r));
        }
    }
    if (!list)
        printf("%s: %d rows of MosaicML's tables (MFU and HFU): %d within %.1f%%, the largest difference is %.2f%%\n",
               PLAN_CLAIMS_PUBLISHED, count, count - *wrong, 100 * PUBLISHED_TOLERANCE, 100 * largest);
    return STATUS_OK;
}

static status all(const char *row, json_t *claims, json_t *published, int *exit_code) {
    int count = 0, wrong = 0;
    tally_of_claims t = {0};
    bool only_published = row && !strcmp(row, PLAN_CLAIMS_PUBLISHED);
    const claim *c = claims_list(&count);
    if (row && !only_published) {
        TRY(claims_find(&c, row));
        count = 1;
    }
    if (!claims && !only_published) print_header();
    for (int i = 0; i < count && !only_published; i++) TRY(one_claim(claims, &c[i], &t));
    if (row && !only_published && !claims) print_inputs(c);
    if (!row && !claims)
        printf("\n%d claims: %d reproduce, %d are wrong, %d open\n", count, t.of[CLAIM_REPRODUCES], t.of[CLAIM_WRONG],
               t.of[CLAIM_OPEN]);
    if (!row || only_published) TRY(all_published(published, only_published, &wrong));
    if (t.unexpected || wrong) *exit_code = 1;
    return STATUS_OK;
}

status plan_claims(const char *row, bool json, int *exit_code) {
    if (!json) return all(row, NULL, NULL, exit_code);
    json_t *o = json_object(), *claims = json_add_array(o, "claims"), *published = json_add_array(o, "published_mfu");
    if (!claims || !published) {
        json_decref(o);
        FAIL(MEM, "no memory for the claims");
    }
    return command_print_json(o, all(row, claims, published, exit_code));
}
