/* The MPI backend of comm.h, in builds with MPI. */
#ifndef TALLY_COMM_MPI_H
#define TALLY_COMM_MPI_H

#include "parallel/comm.h"

/* ranks: the number that the launcher started */
status comm_mpi_open(comm **c, int ranks, double timeout_s);

#endif
