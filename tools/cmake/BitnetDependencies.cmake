# What comes from outside, found once, each as a target. Debian 12 packages and the checkout's virtual environment
# (see tools/setup) provide all of it.
find_package(Threads REQUIRED)
find_program(FLATC flatc REQUIRED)
find_path(FLATBUFFERS_INCLUDE flatbuffers/flatbuffers.h REQUIRED)
find_path(XXHASH_INCLUDE xxhash.h REQUIRED)
find_path(NLOHMANN_INCLUDE nlohmann/json.hpp REQUIRED)
find_library(PCRE2_LIB pcre2-8 REQUIRED)
find_library(SENTENCEPIECE_LIB sentencepiece REQUIRED)
find_library(UTF8PROC_LIB utf8proc REQUIRED)

set(BITNET_VENV_PYTHON ${PROJECT_SOURCE_DIR}/.venv/bin/python)
if(NOT Python3_EXECUTABLE AND EXISTS ${BITNET_VENV_PYTHON})
  set(Python3_EXECUTABLE ${BITNET_VENV_PYTHON})
endif()
if(BITNET_COMPILER OR BITNET_PYTHON)
  find_package(Python3 3.10 REQUIRED COMPONENTS Interpreter Development.Module)
endif()

if(BITNET_COMPILER)
  # Halide's own CMake package wants CMake 3.28; the wheel's library and headers are all we need.
  if(NOT Halide_ROOT)
    execute_process(COMMAND ${Python3_EXECUTABLE} -c
      "import importlib.util, os; print(os.path.dirname(importlib.util.find_spec('halide').origin))"
      OUTPUT_VARIABLE Halide_ROOT OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  endif()
  find_library(HALIDE_LIB Halide PATHS ${Halide_ROOT}/lib64 ${Halide_ROOT}/lib NO_DEFAULT_PATH REQUIRED)
  add_library(Halide::Halide SHARED IMPORTED)
  set_target_properties(Halide::Halide PROPERTIES
    IMPORTED_LOCATION ${HALIDE_LIB} INTERFACE_INCLUDE_DIRECTORIES ${Halide_ROOT}/include)

  list(APPEND CMAKE_PREFIX_PATH /usr/lib/llvm-22)
  find_package(MLIR 22.1 REQUIRED CONFIG)
  list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
  include(TableGen)
  include(AddLLVM)
  include(AddMLIR)
  # Headers of LLVM and MLIR as system headers; the two shared libraries hold every dialect and pass we use.
  add_library(bitnet_mlir INTERFACE)
  target_include_directories(bitnet_mlir SYSTEM INTERFACE ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
  target_link_libraries(bitnet_mlir INTERFACE MLIR LLVM)
endif()

if(BITNET_PYTHON)
  if(NOT pybind11_DIR)
    execute_process(COMMAND ${Python3_EXECUTABLE} -m pybind11 --cmakedir
      OUTPUT_VARIABLE pybind11_DIR OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  endif()
  set(PYBIND11_FINDPYTHON ON)
  set(Python_EXECUTABLE ${Python3_EXECUTABLE})
  find_package(pybind11 3 REQUIRED CONFIG)
endif()

if(BITNET_TESTS)
  find_package(GTest REQUIRED)
endif()
