# Configures, builds and runs the project in ./project:
# cmake -DSOURCE= -DBINARY= -DKVS= -DKVS_VERSION= -DWAY= -DGENERATOR= -DCOMPILER= -P
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "failed: ${ARGN}\n${output}")
  endif()
endfunction()

# A package of xxHash as package managers have it and distributions do not: its header is seen, nothing is linked.
file(WRITE "${BINARY}/xxhash/include/only_in_the_package.h" "")
set(xxhash_dir "${BINARY}/xxhash/share/cmake/xxHash")
file(WRITE "${xxhash_dir}/xxHashConfig.cmake" [[
add_library(xxHash::xxhash INTERFACE IMPORTED)
target_include_directories(xxHash::xxhash INTERFACE "${CMAKE_CURRENT_LIST_DIR}/../../../include")
target_link_libraries(xxHash::xxhash INTERFACE no_such_library)
]])
set(build_with -G "${GENERATOR}" "-DCMAKE_CXX_COMPILER=${COMPILER}" "-DxxHash_DIR=${xxhash_dir}")

# Where kvs is installed, if it is to be found there. fmt and xxHash are there when it is installed, and not always when
# it is used.
set(prefix "${BINARY}/prefix")
file(REMOVE_RECURSE "${prefix}" "${BINARY}/kvs")
if(WAY STREQUAL "vcpkg")
  include("${CMAKE_CURRENT_LIST_DIR}/vcpkg.cmake")
  build_port("${prefix}")
elseif(WAY STREQUAL "find_package")
  run("${CMAKE_COMMAND}" -S "${KVS}" -B "${BINARY}/kvs" ${build_with} -DKVS_BUILD_TESTS=OFF -DKVS_BUILD_EXAMPLES=OFF)
  run("${CMAKE_COMMAND}" --install "${BINARY}/kvs" --prefix "${prefix}")
endif()
if(EXISTS "${prefix}")
  # Every header, nothing that is built, and no word of the machine on which it was built.
  file(GLOB_RECURSE headers RELATIVE "${KVS}/include" "${KVS}/include/*.hpp")
  file(GLOB_RECURSE installed RELATIVE "${prefix}/include" "${prefix}/include/*")
  if(headers STREQUAL "" OR NOT headers STREQUAL installed)
    message(FATAL_ERROR "the headers are\n${headers}\ninstalled are\n${installed}")
  endif()
  file(GLOB parts RELATIVE "${prefix}" "${prefix}/*")
  if(NOT parts STREQUAL "include;share")
    message(FATAL_ERROR "installed are ${parts}")
  endif()
  file(GLOB_RECURSE package "${prefix}/share/*.cmake")
  foreach(file IN LISTS package)
    file(READ "${file}" text)
    foreach(place IN ITEMS "${KVS}" "${BINARY}")
      string(FIND "${text}" "${place}" found)
      if(NOT found EQUAL -1)
        message(FATAL_ERROR "${file} has the path ${place}")
      endif()
    endforeach()
  endforeach()
endif()

# Without fmt and xxHash, too: a program that does not use what is made of them needs neither.
foreach(without IN ITEMS OFF ON)
  set(binary "${BINARY}/without_${without}")
  file(REMOVE_RECURSE "${binary}")
  run("${CMAKE_COMMAND}" -S "${SOURCE}" -B "${binary}" ${build_with} "-DKVS=${KVS}" "-DKVS_VERSION=${KVS_VERSION}"
      "-DWAY=${WAY}" "-DFETCHCONTENT_SOURCE_DIR_KVS=${KVS}" "-DCMAKE_PREFIX_PATH=${prefix}"
      "-DCMAKE_DISABLE_FIND_PACKAGE_fmt=${without}" "-DCMAKE_DISABLE_FIND_PACKAGE_xxHash=${without}")
  run("${CMAKE_COMMAND}" --build "${binary}")
  run("${CMAKE_COMMAND}" -E chdir "${binary}" ./game)
endforeach()
