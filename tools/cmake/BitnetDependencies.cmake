# What comes from outside, found once, each as a target. Debian 12 packages and the checkout's virtual environment
# (see tools/setup) provide all of it.
# BITNET_STATIC_LIBRARIES (for wheels): archives instead of shared libraries where position-independent ones exist, so
# that programs need less of the system.
find_package(Threads REQUIRED)
find_program(FLATC flatc REQUIRED)
find_path(FLATBUFFERS_INCLUDE flatbuffers/flatbuffers.h REQUIRED)
find_path(XXHASH_INCLUDE xxhash.h REQUIRED)
find_path(NLOHMANN_INCLUDE nlohmann/json.hpp REQUIRED)
find_library(SENTENCEPIECE_LIB sentencepiece REQUIRED)
if(BITNET_STATIC_LIBRARIES) # Debian's archives of these are position-independent; SentencePiece has none
  find_library(PCRE2_LIB NAMES libpcre2-8.a pcre2-8 NAMES_PER_DIR REQUIRED)
  find_library(UTF8PROC_LIB NAMES libutf8proc.a utf8proc NAMES_PER_DIR REQUIRED)
else()
  find_library(PCRE2_LIB pcre2-8 REQUIRED)
  find_library(UTF8PROC_LIB utf8proc REQUIRED)
endif()

# The archives of these MLIR libraries and of all that they use. Debian's targets name the shared libLLVM at the end of
# each chain; of LLVM itself, MLIR's core needs no more than Support and Demangle.
function(_bitnet_mlir_archives out)
  set(todo ${ARGN})
  set(seen)
  while(todo)
    list(POP_FRONT todo library)
    if(TARGET ${library} AND NOT library IN_LIST seen AND NOT library STREQUAL LLVM)
      list(APPEND seen ${library})
      get_target_property(uses ${library} INTERFACE_LINK_LIBRARIES)
      if(uses)
        string(REGEX REPLACE "\\$<LINK_ONLY:([^>]*)>" "\\1" uses "${uses}")
        list(APPEND todo ${uses})
      endif()
    endif()
  endwhile()
  set(files ${LLVM_LIBRARY_DIRS}/libLLVMSupport.a ${LLVM_LIBRARY_DIRS}/libLLVMDemangle.a)
  foreach(library IN LISTS seen)
    list(APPEND files $<TARGET_FILE:${library}>)
  endforeach()
  set(${out} ${files} PARENT_SCOPE)
endfunction()

set(BITNET_VENV_PYTHON ${PROJECT_SOURCE_DIR}/.venv/bin/python)
if(NOT Python3_EXECUTABLE AND EXISTS ${BITNET_VENV_PYTHON})
  set(Python3_EXECUTABLE ${BITNET_VENV_PYTHON})
endif()
if(BITNET_COMPILER OR BITNET_PYTHON)
  find_package(Python3 3.10 REQUIRED COMPONENTS Interpreter Development.Module)
endif()

# The compiler's two: MLIR 22, and Halide from its wheel. AUTO builds the compiler where both are found.
if(BITNET_COMPILER)
  set(missing)
  list(APPEND CMAKE_PREFIX_PATH /usr/lib/llvm-22)
  find_package(MLIR 22.1 CONFIG QUIET)
  if(NOT MLIR_FOUND)
    list(APPEND missing "MLIR 22.1 (Debian: libmlir-22-dev llvm-22-dev mlir-22-tools)")
  endif()
  # Halide's own CMake package wants CMake 3.28; the wheel's library and headers are all we need.
  if(NOT Halide_ROOT)
    execute_process(COMMAND ${Python3_EXECUTABLE} -c
      "import importlib.util, os; print(os.path.dirname(importlib.util.find_spec('halide').origin))"
      OUTPUT_VARIABLE Halide_ROOT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
  find_library(HALIDE_LIB Halide PATHS ${Halide_ROOT}/lib64 ${Halide_ROOT}/lib NO_DEFAULT_PATH)
  if(NOT HALIDE_LIB)
    list(APPEND missing "Halide 21 (pip install halide==21.0.0, or -DHalide_ROOT=FOLDER)")
  endif()
  if(missing)
    list(JOIN missing " and " missing)
    if(NOT BITNET_COMPILER STREQUAL AUTO)
      message(FATAL_ERROR "bitnetc needs ${missing}; or configure with -DBITNET_COMPILER=OFF")
    endif()
    message(WARNING "bitnetc is left out: not found: ${missing}")
    set(BITNET_COMPILER OFF)
  endif()
endif()

if(BITNET_COMPILER)
  add_library(Halide::Halide SHARED IMPORTED)
  set_target_properties(Halide::Halide PROPERTIES
    IMPORTED_LOCATION ${HALIDE_LIB} INTERFACE_INCLUDE_DIRECTORIES ${Halide_ROOT}/include)

  list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
  include(TableGen)
  include(AddLLVM)
  include(AddMLIR)
  # Headers of LLVM and MLIR as system headers.
  add_library(bitnet_mlir INTERFACE)
  target_include_directories(bitnet_mlir SYSTEM INTERFACE ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
  if(BITNET_STATIC_LIBRARIES)
    _bitnet_mlir_archives(archives MLIRIR MLIROptLib MLIRParser MLIRPass MLIRTransforms MLIRFuncDialect)
    foreach(library IN ITEMS z zstd tinfo)
      find_library(${library}_ARCHIVE NAMES lib${library}.a ${library} NAMES_PER_DIR REQUIRED)
      list(APPEND archives ${${library}_ARCHIVE})
    endforeach()
    target_link_libraries(bitnet_mlir INTERFACE
      -Wl,--start-group ${archives} -Wl,--end-group -Wl,--exclude-libs,ALL -Wl,--gc-sections)
  else()
    target_link_libraries(bitnet_mlir INTERFACE MLIR LLVM) # two shared libraries with every dialect and pass
  endif()
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
