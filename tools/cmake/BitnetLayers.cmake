# bitnet_library / bitnet_program: the only way to make a target here. They carry the layer table of the architecture:
# a link from one layer to another that the table does not allow stops the configure step. test/lint checks the same
# table on #include lines.

# layer: layers it may use (besides itself)
set(BITNET_LAYERS_format "")
set(BITNET_LAYERS_cpu "format")
set(BITNET_LAYERS_runtime "format;cpu")
set(BITNET_LAYERS_dialects "format")
set(BITNET_LAYERS_codegen "format;cpu")
set(BITNET_LAYERS_compiler "dialects;codegen;format;cpu")
set(BITNET_LAYERS_tools "format;cpu;runtime;dialects;codegen;compiler")
set(BITNET_LAYERS_python "format;cpu;runtime")
set(BITNET_LAYERS_test "format;cpu;runtime;dialects;codegen;compiler;tools")

function(_bitnet_check_uses name layer)
  foreach(used IN LISTS ARGN)
    if(NOT TARGET ${used})
      message(FATAL_ERROR "${name}: USES ${used}, which is not a target defined before it")
    endif()
    get_target_property(used_layer ${used} BITNET_LAYER)
    if(NOT used_layer STREQUAL layer AND NOT used_layer IN_LIST BITNET_LAYERS_${layer})
      message(FATAL_ERROR "${name}: layer '${layer}' may use {${BITNET_LAYERS_${layer}}}, "
                          "but ${used} is in layer '${used_layer}'")
    endif()
  endforeach()
endfunction()

function(_bitnet_settings name layer)
  set_target_properties(${name} PROPERTIES BITNET_LAYER ${layer} CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON)
  target_compile_features(${name} PUBLIC cxx_std_17)
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR})
  target_compile_definitions(${name} PRIVATE BITNET_VERSION="${PROJECT_VERSION}")
  target_compile_options(${name} PRIVATE -Wall -Wextra ${BITNET_WARNINGS_AS_ERRORS})
  # The numbers are defined without contraction (see runtime/format/kernel_ops.h); keep every file that way.
  target_compile_options(${name} PRIVATE -ffp-contract=off)
endfunction()

# bitnet_library(name LAYER l [SHARED] SOURCES a.cpp ... [USES targets...] [LIBS external...])
# USES are targets of this tree (checked against the table, public); LIBS come from outside (private unless headers leak).
function(bitnet_library name)
  cmake_parse_arguments(A "SHARED" "LAYER" "SOURCES;USES;LIBS" ${ARGN})
  _bitnet_check_uses(${name} ${A_LAYER} ${A_USES})
  if(A_SHARED)
    add_library(${name} SHARED ${A_SOURCES})
  else()
    add_library(${name} STATIC ${A_SOURCES})
  endif()
  _bitnet_settings(${name} ${A_LAYER})
  target_link_libraries(${name} PUBLIC ${A_USES} PRIVATE ${A_LIBS})
endfunction()

# bitnet_program(name LAYER l SOURCES ... USES ... LIBS ...): an executable in build/<preset>/bin.
function(bitnet_program name)
  cmake_parse_arguments(A "" "LAYER" "SOURCES;USES;LIBS" ${ARGN})
  _bitnet_check_uses(${name} ${A_LAYER} ${A_USES})
  add_executable(${name} ${A_SOURCES})
  _bitnet_settings(${name} ${A_LAYER})
  target_link_libraries(${name} PRIVATE ${A_USES} ${A_LIBS})
endfunction()

# Makes the build of `name` part of <label>_tests for each label that tools/check builds apart.
function(_bitnet_label name)
  foreach(label IN ITEMS sanitize threads)
    if(NOT TARGET ${label}_tests)
      add_custom_target(${label}_tests)
    endif()
    if(label IN_LIST ARGN)
      add_dependencies(${label}_tests ${name})
    endif()
  endforeach()
endfunction()

# bitnet_test(name SOURCES ... USES ... LIBS ... [LABELS ...] [ARGS ...]): a GoogleTest program run by ctest.
# BITNET_SHARED_DATA names ../shared/data; a test that needs it skips with a message where it is missing.
# Labels: sanitize (what a test without LABELS gets) = also run under the address and undefined-behaviour sanitizers;
# threads = also under the thread sanitizer; kernels = compiles Halide kernels, whose code no sanitizer sees;
# e2e = needs bitnetc. tools/check builds the targets sanitize_tests and threads_tests with those presets, not everything.
# TIMEOUT is for what hangs: the longest test takes 4 minutes on two cores, and machines ten times slower exist.
function(bitnet_test name)
  cmake_parse_arguments(A "" "" "SOURCES;USES;LIBS;LABELS;ARGS" ${ARGN})
  if(NOT A_LABELS)
    set(A_LABELS sanitize)
  endif()
  bitnet_program(${name} LAYER test SOURCES ${A_SOURCES} USES ${A_USES} LIBS ${A_LIBS} GTest::gtest GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/test)
  add_test(NAME ${name} COMMAND ${name} ${A_ARGS})
  _bitnet_label(${name} ${A_LABELS})
  set_tests_properties(${name} PROPERTIES LABELS "${A_LABELS}" TIMEOUT 3600 ENVIRONMENT
    "BITNET_SHARED_DATA=${PROJECT_SOURCE_DIR}/../shared/data;BITNET_SOURCE_DIR=${PROJECT_SOURCE_DIR};BITNET_BIN_DIR=${PROJECT_BINARY_DIR}/bin")
endfunction()

# bitnet_flatbuffer(target LAYER l SCHEMAS a.fbs ...): generated headers as "runtime/format/<name>_generated.h".
function(bitnet_flatbuffer name)
  cmake_parse_arguments(A "" "LAYER" "SCHEMAS" ${ARGN})
  file(RELATIVE_PATH here ${PROJECT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
  set(headers)
  foreach(schema IN LISTS A_SCHEMAS)
    get_filename_component(base ${schema} NAME_WE)
    set(header ${PROJECT_BINARY_DIR}/${here}/${base}_generated.h)
    add_custom_command(OUTPUT ${header}
      COMMAND ${FLATC} --cpp --scoped-enums -o ${PROJECT_BINARY_DIR}/${here} ${CMAKE_CURRENT_SOURCE_DIR}/${schema}
      DEPENDS ${schema} VERBATIM)
    list(APPEND headers ${header})
  endforeach()
  add_custom_target(${name}_headers DEPENDS ${headers})
  add_library(${name} INTERFACE)
  add_dependencies(${name} ${name}_headers)
  target_include_directories(${name} INTERFACE ${PROJECT_BINARY_DIR})
  set_target_properties(${name} PROPERTIES BITNET_LAYER ${A_LAYER})
endfunction()
