/* TensorBoard event files: the numbers of RUN/metrics.jsonl as scalars, at their step.
 *
 * A file is a row of records (TFRecord): length u64, masked crc32c of the length u32, the data, masked crc32c of the data u32,
 * little-endian; masked(c) = (c >> 15 | c << 17) + 0xa282ead8. The data of a record is a protobuf Event (TensorFlow's event.proto
 * and summary.proto, with field numbers):
 *   Event      wall_time 1 double, step 2 varint, file_version 3 string, summary 5 Summary, session_log 7 SessionLog
 *   Summary    value 1 Value, repeated      Value   tag 1 string, simple_value 2 float      SessionLog   status 1 varint
 * The first record is the version "brain.Event:2". The second is a SessionLog START at step 0: it makes a TensorBoard that has
 * read an earlier file of this run forget its steps. A step is one record after that; where steps were done again, a START comes
 * before the first of them.
 *
 * The tag of a key is GROUP/KEY, as in loss/val_loss; that of a key in usd_by_booking is usd_by_booking/KEY. Null, texts and booleans have no value. A value is a 32-bit float, the type
 * of simple_value. wall_time is the key unix_time_s; lines of earlier versions lack it, and have wall_s there.
 *
 * A folder holds one file per run, events.out.tfevents.TIME.HOST.tally-ID. ID is the line in RUN/tensorboard_id, so that a resumed
 * run recognises and replaces its file; a folder with event files of others is refused, since TensorBoard would mix them. */
#ifndef TALLY_TENSORBOARD_H
#define TALLY_TENSORBOARD_H

#include "runtime/json.h"

typedef struct tensorboard tensorboard;

/* ARG if `folder` exists and is no folder, or holds event files that are not of this run. Writes nothing. */
status tensorboard_check(const char *folder, const char *run);
/* Writes the steps of RUN/metrics.jsonl, if that exists, to a new event file, which replaces the run's earlier ones in
 * `folder` when it is complete; the last of them stays as an empty file. Makes the folder. Call tensorboard_check before. */
status tensorboard_open(tensorboard **t, const char *folder, const char *run);
/* line: of metrics.jsonl. If it fails, the file still ends after a complete record. */
status tensorboard_append(tensorboard *t, const json_t *line);
status tensorboard_close(tensorboard *t); /* syncs the file; NULL is allowed */

#endif
