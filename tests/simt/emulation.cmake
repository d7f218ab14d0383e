# TALLY_CUDA=EMULATED: the .cu files compiled by g++ against simt.h, cuBLASLt and NCCL by stand-ins. See README.md here.
set(SIMT ${CMAKE_SOURCE_DIR}/tests/simt)
file(GLOB SIMT_SOURCES CONFIGURE_DEPENDS ${SIMT}/simt*.cc ${SIMT}/fake_*.cc)
set(SIMT_OPTIONS -std=c++17 -march=native -fno-strict-aliasing -Wall -Wno-unknown-pragmas)
set_source_files_properties(${TALLY_KERNELS} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS -xc++)

add_library(simt STATIC ${SIMT_SOURCES})
target_compile_options(simt PRIVATE ${SIMT_OPTIONS} -O3)
target_include_directories(simt SYSTEM INTERFACE ${SIMT}/include)
target_link_libraries(simt PUBLIC Threads::Threads tally_options)

add_library(tally_kernels STATIC ${TALLY_KERNELS})
target_compile_options(tally_kernels PRIVATE ${SIMT_OPTIONS} -O2)
target_link_libraries(tally_kernels PUBLIC simt tally_options)

target_compile_definitions(tally_core PUBLIC TALLY_CUDA TALLY_NCCL PRIVATE TALLY_CUDA_EMULATED)
target_link_libraries(tally_core PUBLIC tally_kernels)
target_link_libraries(tally_kernels PUBLIC tally_core) # each calls the other
