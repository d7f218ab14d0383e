/* The optimizer state in safetensors: master.NAME (if there are master weights), m.NAME and v.NAME of every parameter; NAME is
 * param_table_name.
 *
 * One rank writes whole tensors to optimizer.safetensors. Of several ranks each writes optimizer-0000R-of-0000W.safetensors with
 * its part by parameters_saved, as 1-D tensors NAME@FIRST; FIRST is the first element in the flattened parameter. */
#ifndef TALLY_OPTIMIZER_FILE_H
#define TALLY_OPTIMIZER_FILE_H

#include "runtime/path.h"
#include "runtime/status.h"
#include "train/checkpoint/blockfile.h"
#include "train/model/parameters.h"

/* Writes this rank's file. NUMERIC if a value is not finite. Not collective. */
status optimizer_file_write(const parameters *s, const char *folder, blockfile_sums *sums);

/* Reads this rank's part of the state from the files of any number of ranks. DATA if the files together lack an element of any
 * rank, have one twice, or hold another tensor. Not collective. */
status optimizer_file_read(parameters *s, const char *folder, const path_text *files, int count);

/* Replaces the weights, in fp32 and all on one rank, by the master weights of the files, if they have any. */
status optimizer_file_read_master(parameters *s, const char *folder, const path_text *files, int count);

#endif
