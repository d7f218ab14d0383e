/* The MPI backend of a communicator: see comm.h. Only in builds that have MPI. */
#ifndef TALLY_COMM_MPI_H
#define TALLY_COMM_MPI_H

#include "parallel/comm.h"

/* ranks: as many as the launcher started */
status comm_mpi_open(comm **c, int ranks, double timeout_s);

#endif
