# Run with cmake -P: configures a tiny project whose library in layer 'runtime' uses one of layer 'compiler', and expects
# the configure step to fail with the rule that it breaks; then the same link the allowed way round, which must pass.
# Arguments: -DSOURCE=<source folder> -DWORK=<scratch folder>.
function(configure allowed layer_a layer_b)
  file(WRITE ${WORK}/a.cpp "")
  file(WRITE ${WORK}/CMakeLists.txt "
cmake_minimum_required(VERSION 3.20)
project(layers LANGUAGES CXX)
include(${SOURCE}/tools/cmake/BitnetLayers.cmake)
bitnet_library(a LAYER ${layer_a} SOURCES a.cpp)
bitnet_library(b LAYER ${layer_b} SOURCES a.cpp USES a)
")
  execute_process(COMMAND ${CMAKE_COMMAND} -G Ninja -S ${WORK} -B ${WORK}/build
    RESULT_VARIABLE failed OUTPUT_QUIET ERROR_VARIABLE text)
  if(allowed AND failed)
    message(FATAL_ERROR "layer ${layer_b} may use ${layer_a}, but configuring failed: ${text}")
  elseif(NOT allowed AND NOT text MATCHES "layer '${layer_b}' may use {[a-z;]*},[ \n]+but a is in layer '${layer_a}'")
    message(FATAL_ERROR "layer ${layer_b} may not use ${layer_a}; expected the rule that it breaks, got: ${text}")
  endif()
endfunction()
file(REMOVE_RECURSE ${WORK})
configure(FALSE compiler runtime)
configure(FALSE runtime format)
configure(FALSE dialects codegen)
configure(TRUE format runtime)
