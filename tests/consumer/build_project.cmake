# Configures, builds and runs the project in ./project: cmake -DSOURCE= -DBINARY= -DKVS= -DWAY= -DGENERATOR= -DCOMPILER=
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "failed: ${ARGN}\n${output}")
  endif()
endfunction()

# Without fmt, too: a program that does not include <kvs/format.hpp> needs none.
foreach(without_fmt IN ITEMS OFF ON)
  set(binary "${BINARY}/without_fmt_${without_fmt}")
  file(REMOVE_RECURSE "${binary}")
  run("${CMAKE_COMMAND}" -S "${SOURCE}" -B "${binary}" -G "${GENERATOR}" "-DCMAKE_CXX_COMPILER=${COMPILER}"
      "-DKVS=${KVS}" "-DWAY=${WAY}" "-DFETCHCONTENT_SOURCE_DIR_KVS=${KVS}"
      "-DCMAKE_DISABLE_FIND_PACKAGE_fmt=${without_fmt}")
  run("${CMAKE_COMMAND}" --build "${binary}")
  run("${CMAKE_COMMAND}" -E chdir "${binary}" ./game)
endforeach()
