# TALLY_CUDA=EMULATED: the .cu files compiled by g++ or clang++ against simt.h, cuBLASLt and NCCL by stand-ins; and their tests, in all
# modes. See README.md here.
set(SIMT ${CMAKE_SOURCE_DIR}/tests/simt)
set(SIMT_OPTIONS -std=c++17 -fno-strict-aliasing -Wall -Wno-unknown-pragmas)
if(TALLY_SANITIZE)
  # the linker makes of the `add` that finds a thread's variable a `lea`, on whose flags the null check then relies
  target_compile_options(tally_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize=null>)
endif()
file(GLOB SIMT_SOURCES CONFIGURE_DEPENDS ${SIMT}/simt_*.cc ${SIMT}/fake_*.cc)
list(REMOVE_ITEM SIMT_SOURCES ${SIMT}/fake_nccl.cc)
set_source_files_properties(${TALLY_KERNELS} ${SIMT}/bad.cu PROPERTIES LANGUAGE CXX COMPILE_OPTIONS -xc++)

add_library(simt STATIC ${SIMT_SOURCES})
target_compile_options(simt PRIVATE ${SIMT_OPTIONS} -O3 -g)
target_include_directories(simt SYSTEM INTERFACE ${SIMT}/include)
target_link_libraries(simt PUBLIC Threads::Threads tally_options)

# NCCL is loaded where it is needed, and its stand-in found in the same way: in a folder beside the program. -rdynamic: it
# calls the program's emulation. An RPATH, for from within a program with sanitizers dlopen does not see a RUNPATH.
add_library(fake_nccl SHARED ${SIMT}/fake_nccl.cc)
target_compile_options(fake_nccl PRIVATE ${SIMT_OPTIONS} -O3 -g)
target_link_libraries(fake_nccl PRIVATE tally_options)
set_target_properties(fake_nccl PROPERTIES OUTPUT_NAME nccl SUFFIX .so.2 LIBRARY_OUTPUT_DIRECTORY fake_nccl)
set(CMAKE_BUILD_RPATH "$ORIGIN/fake_nccl")
target_link_options(simt INTERFACE -rdynamic LINKER:--disable-new-dtags)
add_dependencies(simt fake_nccl)

target_sources(tally_core PRIVATE ${TALLY_KERNELS})
target_compile_options(tally_core PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:${SIMT_OPTIONS};-Wmissing-declarations;-O2;-g>")
target_compile_definitions(tally_core PUBLIC TALLY_CUDA PRIVATE TALLY_CUDA_EMULATED)
target_link_libraries(tally_core PUBLIC simt)

# The emulation's own tests: the runtime, and that each seeded bug of bad.cu is noticed by the modes that should.
add_executable(simt_host ${SIMT}/host.cc)
target_compile_options(simt_host PRIVATE ${SIMT_OPTIONS} -O2 -g)
target_link_libraries(simt_host PRIVATE simt tally_options)
add_executable(simt_bad ${SIMT}/bad.cu)
target_compile_options(simt_bad PRIVATE ${SIMT_OPTIONS} -O2 -g)
target_link_libraries(simt_bad PRIVATE simt tally_options)

# `cmake --build . --target cuda_tests` builds what the tests of label cuda need, and no more.
add_custom_target(cuda_tests DEPENDS tally simt_host simt_bad)

# Kernels for racecheck.cc: the compiler's calls at every access, and racecheck in the place of the sanitizer's runtime.
# As objects, they come before the same kernels in the library.
if(NOT TALLY_SANITIZE)
  add_library(racecheck OBJECT ${SIMT}/racecheck.cc)
  target_compile_options(racecheck PRIVATE ${SIMT_OPTIONS} -O3)
  target_link_libraries(racecheck PUBLIC simt)
  target_link_options(racecheck INTERFACE -no-pie)
  add_library(kernels_racecheck OBJECT EXCLUDE_FROM_ALL ${TALLY_KERNELS})
  target_compile_options(kernels_racecheck PRIVATE ${SIMT_OPTIONS} -O2 -g -fsanitize=thread)
  target_link_libraries(kernels_racecheck PRIVATE simt tally_options)

  add_executable(simt_bad_racecheck EXCLUDE_FROM_ALL ${SIMT}/bad.cu)
  target_compile_options(simt_bad_racecheck PRIVATE ${SIMT_OPTIONS} -O2 -g -fsanitize=thread)
  target_link_libraries(simt_bad_racecheck PRIVATE racecheck tally_options)
  add_dependencies(cuda_tests simt_bad_racecheck)
endif()

# The same program under other orders of threads and streams. Two multiprocessors make every loop over a grid run often.
# A program takes two threads, not all of the machine: ctest runs several at once.
set(SIMT_MODES
  "rev SIMT_ORDER=rev SIMT_CPASYNC=early SIMT_SMS=2"
  "rand1 SIMT_ORDER=rand:1"
  "rand2 SIMT_ORDER=rand:2 SIMT_SMS=2"
  "rand3 SIMT_ORDER=rand:3"
  "rand4 SIMT_ORDER=rand:4 SIMT_SMS=2"
  "lazy SIMT_GUARD=1 SIMT_LAZY=1"
  "lazy2 SIMT_GUARD=1 SIMT_LAZY=2 SIMT_ORDER=rand:5 SIMT_SMS=2")

# simt_test(NAME ENVIRONMENT): a test of label cuda
function(simt_test name environment)
  set_tests_properties(${name} PROPERTIES LABELS cuda ENVIRONMENT "${environment};SIMT_WORKERS=2;OMP_NUM_THREADS=2;OMP_WAIT_POLICY=passive")
endfunction()

# Orders of threads are for what tests kernels. What tests the host's part, and whole models, has them in another order of
# streams, and not under racecheck, which looks at one launch at a time.
set(SIMT_HOST_TESTS "^test_cuda_(comm|device|fsdp|ledger|model|reference)$")

# simt_modes(NAME): what was registered as NAME with add_test, in all modes; scripts, which are slow, in two, and so what tests
# the host's part; test_simt, which chooses its own, once
function(simt_modes name)
  get_test_property(${name} ENVIRONMENT environment)
  simt_test(${name} "${environment}")
  if(TARGET ${name})
    add_dependencies(cuda_tests ${name})
  endif()
  if(TALLY_SANITIZE OR name STREQUAL "test_simt")
    return()
  endif()
  foreach(mode ${SIMT_MODES})
    separate_arguments(mode)
    list(POP_FRONT mode title)
    if(name MATCHES ${SIMT_HOST_TESTS} AND NOT title MATCHES "lazy")
      continue()
    elseif(TARGET ${name})
      add_test(NAME ${name}@${title} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    elseif(title STREQUAL "lazy")
      add_test(NAME ${name}@${title} COMMAND bash tests/${name}.sh WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    else()
      continue()
    endif()
    simt_test(${name}@${title} "${environment};${mode}")
  endforeach()
  if(TARGET ${name} AND NOT name MATCHES ${SIMT_HOST_TESTS})
    get_target_property(sources ${name} SOURCES)
    add_executable(${name}_racecheck EXCLUDE_FROM_ALL ${sources} $<TARGET_OBJECTS:kernels_racecheck>
      $<TARGET_OBJECTS:racecheck>)
    target_link_options(${name}_racecheck PRIVATE -no-pie)
    target_link_libraries(${name}_racecheck PRIVATE tally_core PkgConfig::CMOCKA)
    add_dependencies(cuda_tests ${name}_racecheck)
    add_test(NAME ${name}@racecheck COMMAND ${name}_racecheck WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    simt_test(${name}@racecheck "${environment};SIMT_SMS=3")
  endif()
endfunction()
