# cuDNN and its frontend's headers, for TALLY_CUDNN=ON: --attention cudnn.
if(NOT TALLY_HAVE_CUDA)
  message(FATAL_ERROR "TALLY_CUDNN=ON needs nvcc, and TALLY_CUDA=ON or AUTO; found TALLY_CUDA=${TALLY_CUDA} and no nvcc")
endif()
find_path(CUDNN_INCLUDE_DIR cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
find_library(CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 HINTS ${CUDAToolkit_LIBRARY_DIR} ${CUDNN_INCLUDE_DIR}/../lib)
if(NOT CUDNN_INCLUDE_DIR OR NOT CUDNN_LIBRARY)
  message(FATAL_ERROR "TALLY_CUDNN=ON: cudnn.h or libcudnn not found; both are in PyPI's nvidia-cudnn-cu13 (or -cu12) and "
    "in developer.nvidia.com/cudnn; set -DCUDNN_INCLUDE_DIR=FOLDER and -DCUDNN_LIBRARY=FILE")
endif()
find_path(CUDNN_FRONTEND_INCLUDE_DIR cudnn_frontend.h HINTS ${CUDNN_INCLUDE_DIR} ${CUDAToolkit_INCLUDE_DIRS})
if(NOT CUDNN_FRONTEND_INCLUDE_DIR)
  message(FATAL_ERROR "TALLY_CUDNN=ON: cudnn_frontend.h not found; it is in github.com/NVIDIA/cudnn-frontend and in PyPI's "
    "nvidia-cudnn-frontend; set -DCUDNN_FRONTEND_INCLUDE_DIR=FOLDER")
endif()

message(STATUS "cuDNN: ${CUDNN_LIBRARY}, frontend ${CUDNN_FRONTEND_INCLUDE_DIR}")
target_compile_definitions(tally_core PRIVATE TALLY_CUDNN)
target_include_directories(tally_core SYSTEM PRIVATE ${CUDNN_FRONTEND_INCLUDE_DIR} ${CUDNN_INCLUDE_DIR})
target_link_libraries(tally_core PUBLIC ${CUDNN_LIBRARY} CUDA::nvrtc) # the frontend can compile kernels of its own
