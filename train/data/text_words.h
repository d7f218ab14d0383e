/* Counts the words of documents: a pattern splits their text, on several threads. */
#ifndef TALLY_TEXT_WORDS_H
#define TALLY_TEXT_WORDS_H

#include "train/data/documents.h"
#include "train/data/pattern.h"
#include "train/data/word_counts.h"

/* No word of more bytes is counted: its parts are. */
enum { TEXT_WORDS_LONGEST = 4096 };

/* Reads the documents as a stream; a few MiB of each thread are in memory, and the words. What no match of the pattern covers
 * is a word too, and so is each byte that is not UTF-8. The counts do not depend on the threads, the order of the words does.
 *
 * The pattern must never match across the border of a letter and the white space behind it, or of a newline between two
 * characters that are not white space and what follows it: long documents are cut there, for the threads. Where 16 MiB of text
 * have no such border, they are cut anyway, and one word may be counted as two. */
status text_words_count(word_counts *w, document_summary *read, const text_source *from, const pattern *split,
                        int threads);

#endif
