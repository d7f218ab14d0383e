/* The optimizer's state in safetensors: master.NAME (where there is one), m.NAME and v.NAME of every parameter, NAME
 * as of param_table_name.
 *
 * Alone: whole tensors in optimizer.safetensors. Of several ranks each writes optimizer-0000R-of-0000W.safetensors,
 * with what parameters_saved gives it as 1-D tensors NAME@FIRST, FIRST the piece's first element in the flattened
 * parameter. */
#ifndef TALLY_OPTIMIZER_FILE_H
#define TALLY_OPTIMIZER_FILE_H

#include "runtime/path.h"
#include "runtime/status.h"
#include "train/checkpoint/blockfile.h"
#include "train/model/parameters.h"

/* This rank's file; NUMERIC where a value is not finite. No collective. */
status optimizer_file_write(const parameters *s, const char *folder, blockfile_sums *sums);

/* This rank's part of the state from the pieces or whole tensors of all files together, however many ranks wrote them.
 * DATA where they lack or have twice any element, of anyone's, or hold anything else. No collective. */
status optimizer_file_read(parameters *s, const char *folder, const path_text *files, int count);

#endif
