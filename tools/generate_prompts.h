/* The prompts of `tally generate`: one text, or the "prompt" of each line of a .jsonl file. */
#ifndef TALLY_GENERATE_PROMPTS_H
#define TALLY_GENERATE_PROMPTS_H

#include <stdbool.h>

#include "runtime/json.h"

typedef struct {
    char *text;
    size_t bytes;
} generate_prompt;

typedef struct {
    generate_prompt *list;
    i64 count;
    bool lines; /* of a .jsonl file: the results are printed as JSON lines too */
} generate_prompts;

/* text or file, the other is NULL; both NULL: an empty prompt. */
status generate_prompts_read(generate_prompts *p, const char *text, const char *file);
void generate_prompts_free(generate_prompts *p);

/* One line of a result: the prompt, the text that continues it, how many tokens that has, and whether a stop token or the
 * number of tokens ended it. NUL and bytes that are not UTF-8 become U+FFFD. */
typedef struct {
    generate_prompt text;
    i64 tokens;
    bool stopped;
} generate_result;
status generate_prompts_print(const generate_prompt *prompt, const generate_result *r);

#endif
