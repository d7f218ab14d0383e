# nvcc, the CUDA toolkit and NCCL's header, for TALLY_CUDA=ON and AUTO. If the compiler does not work (no g++ or an unsupported
# one, an old toolkit), enable_language ends the configuration. So try it in a separate project first; if that fails, AUTO
# configures for the CPU only.
set(CMAKE_CUDA_ARCHITECTURES 80-real 90 CACHE STRING "sm_80, sm_90 and its PTX") # before enable_language, which tests the compiler with them
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)

macro(cpu_only why details)
  if(NOT TALLY_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "TALLY_CUDA=${TALLY_CUDA}: ${why}\n${details}")
  endif()
  message(STATUS "CUDA: ${why}: CPU only")
  return()
endmacro()

if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(CMAKE_CUDA_COMPILER nvcc PATHS ENV CUDA_HOME ENV CUDA_PATH /usr/local/cuda PATH_SUFFIXES bin
    NO_CACHE NO_CMAKE_SYSTEM_PATH)
  if(NOT CMAKE_CUDA_COMPILER)
    cpu_only("no nvcc in PATH, CUDA_HOME or /usr/local/cuda" "")
  endif()
endif()
set(compiler "$ENV{CUDACXX}")
if(CMAKE_CUDA_COMPILER)
  set(compiler "${CMAKE_CUDA_COMPILER}")
endif()

if(NOT TALLY_NVCC_WORKS STREQUAL compiler)
  set(trial ${CMAKE_BINARY_DIR}/CMakeFiles/trial_of_cuda)
  file(REMOVE_RECURSE ${trial})
  file(WRITE ${trial}/CMakeLists.txt [[
    cmake_minimum_required(VERSION 3.22)
    project(trial LANGUAGES C CUDA)
    if(NOT CMAKE_CUDA_COMPILER_ID STREQUAL "NVIDIA" OR CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 11.8)
      message(FATAL_ERROR "${CMAKE_CUDA_COMPILER_ID} ${CMAKE_CUDA_COMPILER_VERSION}, expected nvcc 11.8 or newer")
    endif()
    find_package(CUDAToolkit REQUIRED)
    if(NOT TARGET CUDA::cudart OR NOT TARGET CUDA::cublasLt)
      message(FATAL_ERROR "no libcudart or no libcublasLt in ${CUDAToolkit_LIBRARY_DIR}")
    endif()]])
  set(options -G ${CMAKE_GENERATOR})
  foreach(name CMAKE_MAKE_PROGRAM CMAKE_C_COMPILER CMAKE_CUDA_COMPILER CMAKE_CUDA_HOST_COMPILER CMAKE_CUDA_FLAGS
      CMAKE_CUDA_ARCHITECTURES CMAKE_CUDA_STANDARD CMAKE_CUDA_RUNTIME_LIBRARY CUDAToolkit_ROOT)
    if(${name})
      list(JOIN ${name} "\;" value)
      list(APPEND options "-D${name}=${value}")
    endif()
  endforeach()
  execute_process(COMMAND ${CMAKE_COMMAND} ${options} -S ${trial} -B ${trial} RESULT_VARIABLE result
    OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    file(WRITE ${trial}/log "${output}")
    string(REGEX MATCH "\\(message\\):\n +([^\n]*expected[^\n]*|no lib[^\n]*)" why "${output}")
    if(NOT why)
      set(CMAKE_MATCH_1 "it cannot be used here, see ${trial}/log")
    endif()
    cpu_only("${compiler}: ${CMAKE_MATCH_1}" "${output}")
  endif()
  set(TALLY_NVCC_WORKS ${compiler} CACHE INTERNAL "was tried")
endif()

enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
set(TALLY_HAVE_CUDA ON)
list(APPEND CMAKE_BUILD_RPATH ${CUDAToolkit_LIBRARY_DIR})

if(TALLY_NCCL) # only the header; the library is loaded at run time
  find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
  if(EXISTS "${NCCL_INCLUDE_DIR}/nccl.h")
    set(TALLY_HAVE_NCCL ON)
  elseif(NOT TALLY_NCCL STREQUAL "AUTO")
    message(FATAL_ERROR "TALLY_NCCL=${TALLY_NCCL}: nccl.h not found; NCCL_INCLUDE_DIR is ${NCCL_INCLUDE_DIR}")
  endif()
endif()
